import { type AddressInfo, createServer } from 'node:net';

export interface Ports {
  studio: number;
  export: number;
  predict: number;
  /** The embedded S3 and SQS server. */
  aws: number;
  postgres: number;
}

const host = '127.0.0.1';

/** Whether nobody listens on a port of the loopback; 0 gives any that is free. */
function claim(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, host, () => {
      const claimed = (server.address() as AddressInfo).port;
      server.close(() => resolve(claimed));
    });
  });
}

/**
 * The studio's port and, for the rest, the ones after it; with 0 any that are free.
 *
 * @throws Error that names the port which is taken.
 */
export async function choosePorts(port: number): Promise<Ports> {
  const [studio, exporting, predict, aws, postgres] = await Promise.all(
    Array.from({ length: 5 }, async (_, index) => {
      const wanted = port === 0 ? 0 : port + index;
      return await claim(wanted).catch((cause) => {
        throw new Error(
          `Port ${wanted} is taken by another program. AI Teacher needs the five from ${port}: set PORT to the first of five free ones, like PORT=9000 npm start`,
          { cause },
        );
      });
    }),
  );
  return { studio: studio!, export: exporting!, predict: predict!, aws: aws!, postgres: postgres! };
}
