/** A TCP proxy on the loopback that does to a connection what networks do: cut it, stall it, slow it, reset it, say 503. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { Transform } from 'node:stream';

export interface Trouble {
  /** New connections are refused and those that are open end. */
  cut: boolean;
  /** Bytes stay where they are; connections stay open. */
  stall: boolean;
  /** Bytes a second of each direction of each connection; 0: as fast as can be. */
  bytesPerSecond: number;
  /** Part of the HTTP requests, from 0 to 1, that are answered 503 in place of the server. */
  unavailable: number;
  /** Part of the HTTP requests on which the connection is reset. */
  reset: number;
}

export interface FaultProxy {
  url: string;
  port: number;
  /** HTTP requests that came, those that were refused among them. */
  requests: number;
  refused: number;
  /** From now on; what is left out is as it should be. */
  set: (trouble: Partial<Trouble>) => void;
  close: () => Promise<void>;
}

const none: Trouble = { cut: false, stall: false, bytesPerSecond: 0, unavailable: 0, reset: 0 };
/** The first line of a request of HTTP/1.1; clients begin one with a packet of its own. */
const requestLine = /^(GET|HEAD|PUT|POST|DELETE|OPTIONS) \S+ HTTP\/1\.1\r\n/;
const unavailable =
  'HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nContent-Length: 99\r\nConnection: close\r\n\r\n';
const slowDown =
  '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Slow</Message></Error>'.padEnd(99);

/**
 * Starts a proxy to `target`, a port of the loopback.
 *
 * @param chance random numbers from 0 to 1, from a seed.
 */
export async function startProxy(target: number, chance: () => number): Promise<FaultProxy> {
  let now = none;
  const counted = { requests: 0, refused: 0 };
  const open = new Set<Socket>();

  /** Passes bytes on while there is no stall, at the speed that is allowed. */
  const pace = () =>
    new Transform({
      transform: async (chunk: Buffer, _, done) => {
        while (now.stall) await new Promise((resolve) => setTimeout(resolve, 20));
        if (now.bytesPerSecond)
          await new Promise((resolve) => setTimeout(resolve, (chunk.length / now.bytesPerSecond) * 1000));
        done(null, chunk);
      },
    });

  const server = createServer((client) => {
    if (now.cut) return void client.resetAndDestroy();
    const upstream = connect(target, '127.0.0.1');
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        other.destroy();
      });
    }
    const judge = new Transform({
      transform: (chunk: Buffer, _, done) => {
        if (!requestLine.test(chunk.subarray(0, 4096).toString('latin1'))) return done(null, chunk);
        counted.requests++;
        const drawn = chance();
        if (drawn < now.unavailable) {
          counted.refused++;
          upstream.unpipe();
          client.end(unavailable + slowDown);
        } else if (drawn < now.unavailable + now.reset) {
          counted.refused++;
          client.resetAndDestroy();
        } else done(null, chunk);
      },
    });
    client.pipe(judge).pipe(pace()).pipe(upstream);
    upstream.pipe(pace()).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const endAll = () => {
    for (const socket of open) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get requests() {
      return counted.requests;
    },
    get refused() {
      return counted.refused;
    },
    set: (trouble) => {
      now = { ...none, ...trouble };
      if (now.cut) endAll();
    },
    close: async () => {
      endAll();
      server.close();
    },
  };
}
