import { expect, test } from 'vitest';
import { contentDisposition, fileName } from '../../../functions/export/file-name.ts';

test.each([
  ['cats and dogs', 'cats and dogs-model.pt'],
  ['고양이와 강아지', '고양이와 강아지-model.pt'],
  ['../../etc/passwd', 'etc passwd-model.pt'],
  ['a\r\nSet-Cookie: x=1', 'a Set-Cookie x=1-model.pt'],
  ['\u202egnp.exe\u0000', 'gnp.exe-model.pt'],
  ['<b>"quoted"\\</b>', 'b quoted b-model.pt'],
  [' ... ', 'model.pt'],
  ['\ud800', '\ufffd-model.pt'],
  ['🐈'.repeat(500), `${'🐈'.repeat(60)}-model.pt`],
])('the project %j gives the file %j', (project, file) => {
  expect(fileName(project, 'model.pt')).toBe(file);
});

test('both forms of the name are there, the second exactly, and neither leaves its quotes', () => {
  expect(contentDisposition("Zoë's 100% 고양이.pt")).toBe(
    `attachment; filename="Zoe's 100_ _______.pt"; filename*=UTF-8''Zo%C3%AB%27s%20100%25%20%EA%B3%A0%EC%96%91%EC%9D%B4.pt`,
  );
});

test('500 hostile names: each a header that Node takes, in ASCII, with one quoted string', () => {
  for (let seed = 0; seed < 500; seed++) {
    const name = Array.from({ length: 40 }, (_, at) =>
      String.fromCharCode((seed * 131 + at * (seed + 7)) % 0x10000),
    ).join('');
    const header = contentDisposition(fileName(name, 'model.pt'));
    expect(header).toMatch(
      /^attachment; filename="[\x20-\x21\x23-\x5b\x5d-\x7e]*"; filename\*=UTF-8''[A-Za-z0-9%!~_.-]*$/,
    );
    expect(new Headers({ 'Content-Disposition': header }).get('Content-Disposition')).toBe(header);
  }
});
