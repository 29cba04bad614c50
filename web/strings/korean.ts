/** Korean particles follow the sound before them: 이라고 after a consonant, 라고 after a vowel. */

/** Whether each digit's name ends in a consonant: 영 일 이 삼 사 오 육 칠 팔 구. */
const closedDigits = [true, true, false, true, false, false, true, true, true, false];

/** Tells whether `word` ends in a consonant when read aloud; null where its script does not show that. */
function endsClosed(word: string): boolean | null {
  const last = word.trim().at(-1) ?? '';
  const code = last.codePointAt(0) ?? 0;
  // In Unicode's block of syllables every 28th has no final consonant.
  if (code >= 0xac00 && code <= 0xd7a3) return (code - 0xac00) % 28 !== 0;
  return closedDigits[Number.parseInt(last, 10)] ?? null;
}

/** Returns the particle after a quoted word: ‘점’이라고, ‘고양이’라고; (이)라고 where its sound is not known. */
export function quotedAfter(word: string): string {
  const closed = endsClosed(word);
  return closed === null ? '(이)라고' : closed ? '이라고' : '라고';
}
