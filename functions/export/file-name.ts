/** Control, format (right-to-left marks among them) and other characters that are no part of a file name on some system. */
const unfit = /[\p{C}\p{Zl}\p{Zp}/\\:*?"<>|]+/gu;
/** Leaves room for the artifact's name within the 255 bytes of a file name, in any script. */
const mostCharacters = 60;

/** `cats and dogs-model.pt`: the project's name in front, so that the files of two projects are told apart. */
export function fileName(projectName: string, artifact: string): string {
  const cleaned = projectName.toWellFormed().normalize('NFC').replace(unfit, ' ').replace(/\s+/g, ' ');
  const short = Array.from(cleaned).slice(0, mostCharacters).join('');
  const name = short.replace(/^[\s.]+|[\s.]+$/g, '');
  return name === '' ? artifact : `${name}-${artifact}`;
}

/**
 * `Content-Disposition` of a download (RFC 6266): the name as it is in `filename*` (RFC 8187), and in plain ASCII for
 * clients that do not know that.
 */
export function contentDisposition(name: string): string {
  const ascii = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .replace(/[^\x20-\x7e]/g, '_')
    .replace(/["\\%]/g, '_');
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
  return `attachment; filename="${ascii}"; filename*=UTF-8''${encoded.replace(/%[0-9a-f]{2}/g, (code) => code.toUpperCase())}`;
}
