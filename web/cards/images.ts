import { useEffect, useRef, useState } from 'preact/hooks';
import type { Image, ImageState } from '#shared/words.ts';
import { api } from '../api.ts';

const settleMilliseconds = 700;

/**
 * Fetches the images of a class in one state, page by page, and again when their number changes.
 *
 * @returns the images fetched so far, and a function that adds the next page, or null at the end.
 */
export function useImages(
  projectId: string,
  classId: string,
  state: ImageState,
  count: number,
): [Image[], (() => void) | null] {
  const [pages, setPages] = useState(1);
  const [images, setImages] = useState<Image[]>([]);
  const [hasMore, setHasMore] = useState(false);
  const lastPages = useRef(0);
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
      setHasMore(next !== null && count > found.length);
    };
    // While many pictures arrive, their number changes each second: one fetch then serves several changes. The first
    // images and another page are fetched at once. A failure is not shown here: the next change fetches again.
    const atOnce = images.length === 0 || lastPages.current !== pages;
    lastPages.current = pages;
    const timer = setTimeout(() => void load().catch(() => {}), atOnce ? 0 : settleMilliseconds);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [projectId, classId, state, count, pages]);
  return [images, hasMore ? () => setPages(pages + 1) : null];
}
