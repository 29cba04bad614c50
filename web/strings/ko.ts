/** What the page says, in Korean. */
import type { Detail } from '#shared/words.ts';
import type { Strings } from './en.ts';
import { quotedAfter } from './korean.ts';

type Params = Detail['params'];
const list = (value: unknown) => (Array.isArray(value) ? value : []).join(', ');
const minutes = (seconds: number) => `${Math.max(1, Math.ceil(seconds / 60))}분`;
const pictures = (count: number) => `사진 ${count}장`;

export const ko: Strings = {
  languageName: '한국어',
  tagline: '사진을 보여 주면 구별하는 법을 스스로 배워요.',
  project: '프로젝트 이름',
  newProject: '새로 만들기',
  myProjects: '내 프로젝트',
  untitled: '내 프로젝트',
  deleteProject: '프로젝트 지우기',
  deleteProjectAsk: (name) => `‘${name}’의 사진과 모델을 모두 지울까요? 되돌릴 수 없어요.`,
  yesDelete: '네, 지울게요',
  keep: '그대로 둘게요',
  expires: (at) =>
    `${at.toLocaleDateString('ko', { dateStyle: 'long' })}까지 아무도 쓰지 않으면 이 프로젝트는 저절로 지워져요.`,
  leave: '이 컴퓨터에서 나가기',
  leaveAsk:
    '다음에 이 컴퓨터를 쓰는 사람에게 내 프로젝트가 보이지 않아요. 나도 여기에서 다시 열 수 없으니, 간직할 모델은 먼저 내려받으세요.',
  yesLeave: '네, 나갈게요',
  stay: '그대로 있을게요',

  classesTitle: '1. 모으기',
  classesHelp: '이름을 붙이고 사진을 넣어 주세요.',
  className: '클래스 이름',
  classSuggestion: (number) => `클래스 ${number}`,
  addClass: '클래스 더하기',
  removeClass: '클래스 지우기',
  removeClassAsk: (name, count) => `‘${name}’ 클래스와 ${pictures(count)}을 지울까요?`,
  choosePictures: '사진 고르기',
  takePicture: '사진 찍기',
  dropHere: '여기에 끌어다 놓아도 돼요. 폴더도 괜찮아요.',
  dropNow: '놓으면 들어가요',
  pictures,
  sending: (sent, total) => `보내는 중: ${total}장 가운데 ${sent}장`,
  sendingPaused: '지금은 인터넷이 끊겼어요. 다시 이어지면 저절로 보내요.',
  looking: (count) => `${pictures(count)}을 살펴보고 있어요 …`,
  notTaken: (count) => `쓸 수 없는 ${pictures(count)}`,
  showMore: (count) => `${count}장 더 보기`,
  dismiss: '닫기',
  pictureMenu: (name) => `사진 ${name}`,
  moveTo: (name) => `‘${name}’(으)로 옮기기`,
  removePicture: '사진 지우기',

  trainingTitle: '2. 배우기',
  trainingHelp: '사진이 모이면 저절로 시작해요.',
  trainNow: '지금 다시 배우기',
  cancel: '멈추기',
  status: {
    collecting: '사진을 기다려요',
    waiting: '곧 시작해요',
    training: '배우는 중 …',
    failed: '잘되지 않았어요',
    ready: '다 배웠어요!',
  },
  tuneTitle: '더 잘할 수 있을까요?',
  tuneHelp: '사진을 더 자세히 배울 수 있어요. 몇 분 걸려요. 더 나아졌을 때만 새 모델로 바꿔요.',
  tune: '더 자세히 배우기',
  tuning: '더 자세히 보고 있어요 … 그동안 지금 모델을 써 볼 수 있어요.',
  tuneBetter: '더 자세히 배워서 더 나아졌어요.',
  tuneSame: '더 자세히 배웠지만 전에 배운 것이 더 나았어요. 여러 가지 사진을 더 넣으면 좋아져요.',
  backboneHelp: '다른 눈으로 보게 할 수도 있어요. 더 잘 보는 눈은 시간이 더 걸리고, 가져가는 파일도 커져요.',
  backbone: '눈',
  backbones: {
    quick: '빠른 눈',
    closer: '더 자세히 보는 눈 (시간이 두 배 걸려요)',
    twice: '두 번 보는 눈, 가장 잘 봐요 (시간이 세 배 걸려요)',
  },
  noBusiness: '사업에는 쓸 수 없음',
  learnWith: '이 눈으로 배우기',
  secondsLeft: (seconds) => (seconds < 2 ? '거의 다 됐어요' : `${Math.round(seconds)}초쯤 남았어요`),
  accuracy: (right, of) => `${of}장 가운데 ${right}장을 맞혔어요`,
  accuracyExplained: '배울 때 보지 않은 사진을 얼마나 맞혔는지예요.',
  accuracyRange: (low, high) =>
    `이런 사진이라면 ${low} %에서 ${high} % 사이로 맞힐 거예요. 사진이 많을수록 더 확실해져요.`,
  accuracyUnknown: '얼마나 잘하는지 알기에는 사진이 너무 적어요. 조금 더 넣어 주세요.',
  nextTitle: '이렇게 해 보세요:',
  next: {
    'more-pictures': ({ class: name, images }: Params) =>
      `‘${name}’에는 사진이 ${images}장뿐이에요. 조금 더 넣어 주세요.`,
    'different-pictures': ({ class: name }: Params) =>
      `‘${name}’ 사진이 거의 다 비슷해요. 다른 곳, 다른 쪽, 다른 빛에서 찍은 사진을 넣어 주세요.`,
    background: ({ class: name }: Params) =>
      `‘${name}’ 둘레에 있는 것을 보고 알아맞혀요. 다른 곳에서 찍은 사진과, 같은 곳에서 찍은 다른 것들의 사진을 넣어 주세요.`,
    'check-pictures': () => '다른 클래스에 들어간 사진이 있을지 몰라요. 다르게 대답한 사진을 살펴보세요.',
    'tell-apart': ({ class: name, said }: Params) =>
      `‘${name}’과(와) ‘${said}’을(를) 헷갈려요. 무엇이 다른지 보이는 사진을 둘 다 넣어 주세요.`,
    'more-of-all': () => '사진이 늘수록 아직 더 나아져요. 클래스마다 더 넣어 주세요.',
    try: () => '아주 잘해요. 한 번도 본 적 없는 것을 보여 주세요.',
  },
  looksTitle: '어디를 보았을까요?',
  looksHelp: '사진에서 밝은 곳을 보고 알아맞혀요.',
  looksAround: '그것 자체보다 둘레에 있는 것을 더 많이 봐요.',
  mixedUp: '헷갈린 것',
  mixesUp: (what, said, count) => `‘${what}’ ${pictures(count)}을 ‘${said}’${quotedAfter(said)} 했어요.`,
  mixesUpNothing: '하나도 없어요. 모두 구별했어요.',
  matrixCaption: '가로줄은 사진에 있는 것, 세로줄은 모델이 말한 것이에요.',
  really: '사진은 …',
  said: '… 모델의 대답',

  previewTitle: '3. 해 보기',
  previewHelp: '한 번도 본 적 없는 사진을 보여 주세요.',
  previewEmpty: '다 배우면 여기에서 해 볼 수 있어요.',
  tryPicture: '해 볼 사진 고르기',
  tryHint: '끌어다 놓거나 붙여 넣어도 돼요',
  tried: '해 본 사진',
  itSays: (label) => `‘${label}’ 같아요.`,
  itDoesNotKnow: '무엇인지 모르겠어요.',
  thinking: '보고 있어요 …',
  older: '이 모델은 가장 최근에 바꾼 것을 아직 몰라요.',
  downloads: '가져가기',
  artifacts: {
    'model.onnx': '웹사이트, 앱, 여러 프로그램에서 (ONNX)',
    'model.pt': '파이썬 PyTorch에서',
    'model.pt2': '파이썬 PyTorch에서, 신경망까지 담아서',
    'labels.txt': '클래스 이름',
    'report.json': '잰 것 모두',
  },

  programs: '프로그램에서 쓰기',
  programsHelp:
    '프로그램이 이 모델을 쓰려면 열쇠가 있어야 해요. 새 열쇠를 만들면 전의 열쇠와 이 모델의 링크는 모두 끝나요.',
  makeKey: '새 열쇠 만들기',
  keyOnce: '지금 복사하세요. 열쇠는 이번에만 보여요. 믿는 사람에게만 주세요.',

  tryAgain: '다시 해 주세요.',
  offline: 'AI Teacher와 연결이 끊겼어요. 잃은 것은 없어요. 다시 이어지면 저절로 계속해요.',

  details: {
    'needs-classes': () => '구별하려면 클래스가 하나 더 있어야 해요.',
    'needs-images': ({ least, classes }: Params) =>
      `클래스마다 사진이 ${least}장 이상 있어야 해요. 아직 모자라요: ${list(classes)}.`,
    uploading: ({ count }: Params) => `${pictures(Number(count))}이 오고 있어요.`,
    settling: () => '더 넣을지 몰라서 잠깐 기다려요.',
    queued: () => '빈 컴퓨터를 기다리고 있어요.',
    stopped: () => '멈췄어요. 언제든지 다시 시작할 수 있어요.',
    'left-out': ({ classes, least }: Params) => `사진이 ${least}장이 안 되어 빠졌어요: ${list(classes)}.`,
    'not-an-image': () => '읽을 수 있는 사진이 아니에요. JPEG, PNG, WebP 사진을 넣어 주세요.',
    empty: () => '빈 파일이에요.',
    damaged: () => '사진이 망가져서 열 수 없어요.',
    'too-many-pixels': ({ width, height }: Params) => `사진이 너무 커요: ${width} × ${height}점.`,
    'too-large': () => '파일이 너무 커요(15 MB가 넘어요).',
    'never-arrived': () => '사진이 오지 않았어요. 다시 넣어 주세요.',
    'not-sent': () => '사진을 보내지 못했어요. 다시 넣어 주세요.',
    'unsupported-type': () => 'JPEG, PNG, WebP 사진만 넣을 수 있어요.',
    'too-many-images': ({ room }: Params) => `프로젝트가 가득 찼어요. ${room}장만 더 넣을 수 있어요.`,
    'too-many-bytes': () => '프로젝트가 가득 찼어요. 먼저 사진을 몇 장 지워 주세요.',
    'too-many-projects': () => '프로젝트를 더 만들 수 없어요. 먼저 하나를 지워 주세요.',
    'too-many-classes': () => '클래스를 더 넣을 수 없어요.',
    'class-exists': () => '같은 이름의 클래스가 있어요.',
    'too-many': ({ seconds }: Params) => `너무 빨라요. ${minutes(Number(seconds))}만 기다려 주세요.`,
    'too-many-trainings': ({ seconds }: Params) =>
      `학습을 많이 했어요. ${minutes(Number(seconds))} 뒤에 다시 해 주세요.`,
    'too-many-pictures': ({ seconds }: Params) =>
      `사진을 아주 많이 넣었어요. ${minutes(Number(seconds))} 뒤에 저절로 계속해요.`,
    'unknown-backbone': () => '이 눈은 이제 쓸 수 없어요. 페이지를 다시 열어 주세요.',
    'out-of-reach': () => '지금은 연결할 수 없어요. 몇 초 뒤에 다시 해 주세요.',
    'out-of-limits': () => '이름은 1자에서 100자까지 쓸 수 있어요.',
    'out-of-memory': () => '컴퓨터의 기억 공간이 모자라요. 사진을 줄여 주세요.',
    'out-of-room': () => '컴퓨터에 저장할 자리가 모자라요. 사진을 줄여 주세요.',
    'too-many-to-tune': () => '더 자세히 배우기에는 사진이 너무 많아요.',
    'too-few-images': () => '클래스 두 개에 사진이 두 장씩은 있어야 해요.',
    failed: () => '배우다가 문제가 생겼어요. 다시 해 주세요. 사진은 그대로 있어요.',
  },
};
