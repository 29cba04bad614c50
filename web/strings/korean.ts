/** Korean particles follow the sound before them: 이라고 after a consonant, 라고 after a vowel. */

/** Whether digits end in a consonant when read: 영 일 이 삼 사 오 육 칠 팔 구. */
const closedDigits = [true, true, false, true, false, false, true, true, true, false];

/** Whether `word` ends in a consonant when read aloud; null where its letters do not tell, as those of other scripts. */
function endsClosed(word: string): boolean | null {
  const last = word.trim().at(-1) ?? '';
  const code = last.codePointAt(0) ?? 0;
  // Syllables are laid out so that those without a final consonant are every 28th.
  if (code >= 0xac00 && code <= 0xd7a3) return (code - 0xac00) % 28 !== 0;
  return closedDigits[Number.parseInt(last, 10)] ?? null;
}

/** What follows a quoted word: ‘점’이라고, ‘고양이’라고; (이)라고 where its sound is not known. */
export function quotedAfter(word: string): string {
  const closed = endsClosed(word);
  return closed === null ? '(이)라고' : closed ? '이라고' : '라고';
}
