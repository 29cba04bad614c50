import { useState } from 'preact/hooks';
import { listDroppedFiles } from '../uploads/dropped.ts';

/** Lets an element take dropped files. @returns whether something is dragged over it, and its event handlers. */
export function useFileDrop(onFiles: (files: File[]) => unknown) {
  const [isOver, setIsOver] = useState(false);
  const handlers = {
    onDragOver: (event: DragEvent) => {
      event.preventDefault();
      setIsOver(true);
    },
    onDragLeave: (event: DragEvent) => {
      const element = event.currentTarget as Element;
      if (!element.contains(event.relatedTarget as Node | null)) setIsOver(false);
    },
    onDrop: async (event: DragEvent) => {
      event.preventDefault();
      setIsOver(false);
      const files = event.dataTransfer ? await listDroppedFiles(event.dataTransfer) : [];
      if (files.length > 0) onFiles(files);
    },
  };
  return [isOver, handlers] as const;
}
