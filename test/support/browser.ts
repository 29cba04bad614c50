/** A real browser that keeps an eye on the page: what it logs, what it refuses, whom it asks. */
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface Watched {
  page: Page;
  /** Errors of the page and of its policy, as they were logged. */
  complaints: string[];
  /** Every origin that was asked for anything. */
  origins: Set<string>;
}

export async function openBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: flags });
  return {
    open: async (options: BrowserContextOptions): Promise<Watched> => {
      const page = await (await browser.newContext(options)).newPage();
      const complaints: string[] = [];
      const origins = new Set<string>();
      page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('request', (request) => /^https?:/.test(request.url()) && origins.add(new URL(request.url()).origin));
      return { page, complaints, origins };
    },
    close: () => browser.close(),
  };
}
