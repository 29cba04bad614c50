/** The languages of the page: one file and one line each. The exported name is the language's tag (BCP 47). */
export { en } from './en.ts';
export { ko } from './ko.ts';
