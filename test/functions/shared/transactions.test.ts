/** An exception that nobody can catch fails the whole run of vitest: that there is none is part of each test. */
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { connect, type Postgres } from '#shared/database.ts';
import { createTestDatabase, type TestDatabase } from '../../support/postgres.ts';

let killer: TestDatabase;
let postgres: Postgres;
beforeAll(async () => {
  killer = await createTestDatabase();
  await killer.sql`create table notes (text text)`;
});
afterAll(() => killer.close());
beforeEach(async () => {
  // One connection: what the next query gets is the one that was ended.
  postgres = connect(killer.url, { connections: 1 });
  await killer.sql`truncate notes`;
  return () => postgres.close();
});

const kill = () =>
  killer.sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
    and backend_type = 'client backend' and application_name = 'ai-teacher' and xact_start is not null`;
const notes = async () => (await killer.sql`select text from notes order by text`).map(({ text }) => text);
/** The one connection serves on, in and out of transactions. */
async function servesOn() {
  // postgres.js gives the first one the error with which the old connection ended.
  await postgres.db.execute(sql`select 1`).catch(() => {});
  for (let times = 0; times < 3; times++) {
    await postgres.db.execute(sql`select 1`);
    await postgres.db.transaction((transaction) => transaction.execute(sql`insert into notes values ('after')`));
  }
}

test('a connection that ends in the middle of a query: the transaction fails, the next one goes through', async () => {
  const failed = expect(
    postgres.db.transaction(async (transaction) => {
      await transaction.execute(sql`insert into notes values ('lost')`);
      await transaction.execute(sql`select pg_sleep(5)`);
    }),
  ).rejects.toThrow();
  await sleep(200);
  await kill();
  await failed;
  await sleep(50);
  await servesOn();
  expect(await notes()).toEqual(['after', 'after', 'after']);
});

test('a connection that ends between two queries: what follows is refused, and reaches no other transaction', async () => {
  let refused: unknown;
  const failed = expect(
    postgres.db.transaction(async (transaction) => {
      await transaction.execute(sql`insert into notes values ('lost')`);
      await kill();
      await sleep(300);
      try {
        await transaction.execute(sql`insert into notes values ('stray')`);
      } catch (error) {
        refused = error;
        throw error;
      }
    }),
  ).rejects.toThrow();
  await failed;
  // Meanwhile the connection that took its place is in a transaction of its own.
  await postgres.db.transaction(async (transaction) => {
    await transaction.execute(sql`insert into notes values ('own')`);
    await sleep(500);
  });
  expect(refused).toBeDefined();
  await servesOn();
  expect(await notes()).toEqual(['after', 'after', 'after', 'own']);
});

test('a connection that ends while the work does something else, which then succeeds or fails: nothing is committed', async () => {
  for (const outcome of ['succeeds', 'fails']) {
    const failed = expect(
      postgres.db.transaction(async (transaction) => {
        await transaction.execute(sql`insert into notes values ('lost')`);
        await kill();
        await sleep(200);
        if (outcome === 'fails') throw new Error('for a reason of its own');
      }),
      outcome,
    ).rejects.toThrow();
    await failed;
    await sleep(300);
  }
  await servesOn();
  expect(await notes()).toEqual(['after', 'after', 'after']);
});

test('a transaction that fails by itself is rolled back, with its own error', async () => {
  const own = new Error('mine');
  const failing = postgres.db.transaction(async (transaction) => {
    await transaction.execute(sql`insert into notes values ('lost')`);
    throw own;
  });
  await expect(failing).rejects.toBe(own);
  expect(await postgres.sql.begin('read only', async (transaction) => (await transaction`select 7 as n`)[0]?.n)).toBe(
    7,
  );
  await servesOn();
  expect(await notes()).toEqual(['after', 'after', 'after']);
});
