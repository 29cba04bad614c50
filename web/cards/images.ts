import { useEffect, useRef, useState } from 'preact/hooks';
import type { Image, ImageState } from '#shared/words.ts';
import { api } from '../api.ts';

/**
 * The images of a class in one state, a page at a time; fetched again when their number changes.
 *
 * @returns what is fetched so far, and a function for the next page, or null at the end.
 */
export function useImages(
  projectId: string,
  classId: string,
  state: ImageState,
  count: number,
): [Image[], (() => void) | null] {
  const [pages, setPages] = useState(1);
  const [images, setImages] = useState<Image[]>([]);
  const [more, setMore] = useState(false);
  const asked = useRef(0);
  useEffect(() => {
    let current = true;
    const load = async () => {
      const found: Image[] = [];
      let next: string | null = '';
      for (let page = 0; page < pages && next !== null && count > 0; page++) {
        const answer: Awaited<ReturnType<typeof api.images>> = await api.images(projectId, {
          class: classId,
          state,
          ...(next && { cursor: next }),
        });
        found.push(...answer.images);
        next = answer.next;
      }
      if (!current) return;
      setImages(found);
      setMore(next !== null && count > found.length);
    };
    // What cannot be fetched now is with the next change; the page says that it is offline elsewhere. While many pictures
    // arrive the number changes each second: one fetch for a few of those. Who asks for more waits for nothing.
    const atOnce = images.length === 0 || asked.current !== pages;
    asked.current = pages;
    const timer = setTimeout(() => void load().catch(() => {}), atOnce ? 0 : 700);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [projectId, classId, state, count, pages]);
  return [images, more ? () => setPages(pages + 1) : null];
}
