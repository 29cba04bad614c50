/** The page's sentences in English. They contain no jargon: children read them. */
import type { ProjectStatus } from '#shared/words.ts';
import { type ArtifactName, imageTypeNames } from '../facts.ts';
import { type DetailCode, megabytesIn, namesIn, type Params, type Sentence } from './sentence.ts';

const minutes = (seconds: number) => (seconds <= 60 ? 'a minute' : `${Math.ceil(seconds / 60)} minutes`);
const pictures = (count: number) => (count === 1 ? '1 picture' : `${count} pictures`);

const imageTypes = new Intl.ListFormat('en-GB').format(imageTypeNames);

const artifacts: Record<ArtifactName, string> = {
  'model.onnx': 'For websites, apps and most programs (ONNX)',
  'model.pt': 'For Python with PyTorch',
  'model.pt2': 'For PyTorch, with the network in it',
  'labels.txt': 'The names of the classes',
  'report.json': 'Everything that was measured',
};

/** A code that is in no language's list is shown in the words of the API. */
const details: Record<DetailCode, Sentence> = {
  'needs-classes': () => 'Add a second class, so that there is something to tell apart.',
  'needs-images': ({ least, classes }) =>
    `Each class needs at least ${least} pictures. Still too few: ${namesIn(classes)}.`,
  uploading: ({ count }) => `${pictures(Number(count))} on their way.`,
  settling: () => 'Waiting a moment, in case you add more.',
  queued: () => 'Waiting for a free computer.',
  stopped: () => 'You stopped it. Start it again whenever you like.',
  'left-out': ({ classes, least }) => `Left out because they have fewer than ${least} pictures: ${namesIn(classes)}.`,
  'not-an-image': () => `This is not a picture that we can read. ${imageTypes} work.`,
  empty: () => 'This file is empty.',
  damaged: () => 'This picture is damaged and cannot be opened.',
  'too-many-pixels': ({ width, height }) => `Too large: ${width} × ${height} points.`,
  'too-large': (params) => `This file is too large (more than ${megabytesIn(params)} MB).`,
  'never-arrived': () => 'This picture did not arrive. Please add it again.',
  'not-sent': () => 'This picture could not be sent. Please add it again.',
  'not-found': () => 'This is not here any more.',
  'unsupported-type': () => `Only ${imageTypes} pictures work.`,
  'too-many-images': ({ room }) => `The project is full: there is room for ${room} more pictures.`,
  'too-many-bytes': () => 'The project is full. Please remove some pictures first.',
  'too-many-projects': () => 'There are as many projects here as can be. Please delete one first.',
  'too-many-classes': () => 'There are as many classes as a project can have.',
  'class-exists': () => 'Another class has this name already.',
  'too-many': ({ seconds }) => `That was too fast. Please wait ${minutes(Number(seconds))}.`,
  'too-many-trainings': ({ seconds }) =>
    `You asked for many trainings. Please wait ${minutes(Number(seconds))} before the next one.`,
  'too-many-pictures': ({ seconds }) =>
    `You added very many pictures. It goes on by itself in ${minutes(Number(seconds))}.`,
  'unknown-backbone': () => 'These eyes are no longer offered. Please load the page again.',
  'out-of-reach': () => 'This cannot be reached at the moment. Please try again in a few seconds.',
  'out-of-limits': () => 'A name has 1 to 100 characters.',
  'out-of-memory': () => 'The computer ran out of memory. Try with fewer pictures.',
  'out-of-room': () => 'The computer has no room left on its disk. Try with fewer pictures.',
  'too-many-to-tune': () => 'There are too many pictures to learn more closely.',
  'too-few-images': () => 'Two classes need two pictures each.',
  failed: () => 'Something went wrong while learning. Try again; your pictures are safe.',
};

export const en = {
  languageName: 'English',
  tagline: 'Show it pictures, and it learns to tell them apart.',
  project: 'Project name',
  newProject: 'New',
  myProjects: 'My projects',
  untitled: 'My project',
  deleteProject: 'Delete project',
  deleteProjectAsk: (name: string) => `Delete “${name}” with all its pictures and models? This cannot be undone.`,
  yesDelete: 'Yes, delete',
  keep: 'Keep it',
  expires: (at: Date) =>
    `If nobody uses this project until ${at.toLocaleDateString('en', { dateStyle: 'long' })}, it is deleted by itself.`,
  leave: 'Leave this computer',
  leaveAsk:
    'Whoever uses this computer next will not see your projects. You cannot open them here again either: first download the models that you want to keep.',
  yesLeave: 'Yes, leave',
  stay: 'Stay',

  classesTitle: '1. Collect',
  classesHelp: 'Give each thing a name and add pictures of it.',
  className: 'Name of this class',
  classSuggestion: (number: number) => `Class ${number}`,
  addClass: 'Add a class',
  removeClass: 'Remove class',
  removeClassAsk: (name: string, count: number) => `Remove “${name}” and its ${pictures(count)}?`,
  choosePictures: 'Choose pictures',
  takePicture: 'Take a picture',
  dropHere: 'or drop them here, folders too',
  dropNow: 'Let go to add them',
  pictures,
  sending: (sent: number, total: number) => `Sending: ${sent} of ${total}`,
  sendingPaused: 'No network at the moment. Sending goes on by itself.',
  looking: (count: number) => `Looking at ${pictures(count)} …`,
  notTaken: (count: number) => `${pictures(count)} could not be used`,
  showMore: (count: number) => `Show ${count} more`,
  dismiss: 'Close',
  pictureMenu: (name: string) => `Picture ${name}`,
  moveTo: (name: string) => `Move to “${name}”`,
  removePicture: 'Remove picture',

  trainingTitle: '2. Learn',
  trainingHelp: 'This happens by itself as soon as there are pictures.',
  trainNow: 'Learn again now',
  cancel: 'Stop',
  status: {
    collecting: 'Waiting for pictures',
    waiting: 'Starts in a moment',
    training: 'Learning …',
    failed: 'That did not work',
    ready: 'Ready!',
  } satisfies Record<ProjectStatus, string>,
  tuneTitle: 'Can it get better?',
  tuneHelp:
    'It can learn the pictures more closely. This takes some minutes. The new model is kept only if it is better.',
  tune: 'Learn more closely',
  tuning: 'Looking more closely … You can go on trying the model meanwhile.',
  tuneBetter: 'It looked more closely, and got better.',
  tuneSame: 'It looked more closely, and what it knew before was as good. More and different pictures help more.',
  backboneHelp:
    'Or let it look with other eyes. Some see more; they take longer, and the files that you take with you get larger.',
  backbone: 'Eyes',
  backbones: {
    quick: 'Quick eyes',
    sharper: 'Sharper eyes, take twice as long',
    closer: 'Look more closely, take twice as long',
    twice: 'Look twice and see the most, take three times as long',
  } as Record<string, string>,
  noBusiness: 'not for business use',
  learnWith: 'Learn with these eyes',
  secondsLeft: (seconds: number) => (seconds < 2 ? 'almost done' : `about ${Math.round(seconds)} seconds left`),
  accuracy: (right: number, total: number) => `${right} of ${total} right`,
  accuracyExplained: 'That is how often it was right about pictures it had not learned from.',
  accuracyRange: (low: number, high: number) =>
    `With pictures like these, expect between ${low} % and ${high} %. More pictures make this surer.`,
  accuracyUnknown: 'Too few pictures to tell how good it is. Add some more.',
  nextTitle: 'What helps now:',
  next: {
    'single-burst': ({ class: name }: Params) =>
      `All pictures of “${name}” were taken in one go, so nobody can tell how well it knows it. Add some taken at another time.`,
    'more-pictures': ({ class: name, images }: Params) =>
      `“${name}” has only ${pictures(Number(images))}. Add some more.`,
    'different-pictures': ({ class: name }: Params) =>
      `The pictures of “${name}” are nearly all alike. Add some from elsewhere, from other sides or in other light.`,
    background: ({ class: name }: Params) =>
      `It knows “${name}” by what is around it. Add pictures of it in other places, and of the others in the same place.`,
    'check-pictures': () =>
      'Some pictures may be in the wrong class. Have a look at those that it took for something else.',
    'tell-apart': ({ class: name, said }: Params) =>
      `It mixes up “${name}” and “${said}”. Add pictures of both that show how they differ.`,
    'more-of-all': () => 'It still gets better with every picture. Add more of each class.',
    'sharper-eyes': ({ points, cost }: Params) =>
      `Sharper eyes may help (below: “Can it get better?”): on our test pictures they were right ${points} times more in 100, and take ${cost} times as long.`,
    try: () => 'It is good at this. Try it on something it has never seen.',
  } as Record<string, Sentence>,
  looksTitle: 'What did it look at?',
  looksHelp: 'The bright parts of a picture are those that it knows it by.',
  looksAround: 'It looks at what is around it more than at the thing itself.',
  mixedUp: 'What it mixes up',
  mixesUp: (what: string, said: string, count: number) => `It took ${pictures(count)} of “${what}” for “${said}”.`,
  mixesUpNothing: 'Nothing: it told them all apart.',
  matrixCaption: 'Each row is what the picture shows, each column what was said of it.',
  really: 'It is …',
  said: '… it said',

  previewTitle: '3. Try',
  previewHelp: 'Show it a picture it has never seen.',
  previewEmpty: 'As soon as it has learned, you can try it here.',
  tryPicture: 'Choose a picture to try',
  tryHint: 'or drop or paste one here',
  tried: 'The picture you tried',
  itSays: (label: string) => `This is “${label}”.`,
  itDoesNotKnow: 'I don’t know what this is.',
  thinking: 'Looking …',
  older: 'This model does not know your newest changes yet.',
  downloads: 'Take it with you',
  artifacts,

  programs: 'For programs',
  programsHelp: 'A program needs a key to ask this model. A new key ends the one before, and all links to this model.',
  makeKey: 'Make a new key',
  keyOnce: 'Copy it now: it is shown this once. Give it only to whom you trust.',

  tryAgain: 'Please try again.',
  offline: 'No connection to AI Teacher. Nothing is lost; this page goes on by itself.',

  details,
};

export type Strings = typeof en;
