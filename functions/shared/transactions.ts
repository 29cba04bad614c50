import type { Sql, TransactionSql } from 'postgres';

type Begin = (...given: unknown[]) => Promise<unknown>;

const never = new Promise<never>(() => {});
/**
 * Whoever stands still in the middle of a transaction (a process that is paused, a machine that sleeps) would keep everybody
 * else from the rows that it has locked. Said in the transaction itself: poolers refuse it as a setting of the connection.
 */
const patience = "set local idle_in_transaction_session_timeout = '10s'";
/** Long enough for the end of a connection to be told to everybody: a socket's error and its end come in one turn. */
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/**
 * Ends transactions of `client` that stand still, and keeps them off connections that have ended. postgres.js 3.4.9 itself
 * writes a rollback or a commit to them, which throws where nobody can catch it and ends the process, or reaches another
 * transaction on the connection that took its place (porsager/postgres#1208, #1216). Remove that when a release has the fix.
 */
export function guardTransactions(client: Sql): Sql {
  const begin = client.begin.bind(client) as Begin;
  const guarded: Begin = (...given) => {
    const work = given.pop() as (transaction: TransactionSql) => Promise<unknown>;
    let ended: { error: unknown } | undefined;
    const check = () => {
      if (ended) throw ended.error;
    };
    const transaction = begin(...given, async (sql: TransactionSql) => {
      const checked = new Proxy(sql, {
        apply: (target, self, args) => {
          check();
          return Reflect.apply(target as never, self, args);
        },
        get: (target, name) => {
          if (name === 'unsafe') check();
          return Reflect.get(target, name);
        },
      });
      try {
        await sql.unsafe(patience);
        const result = await work(checked);
        // The caller was told already that the connection ended: here, nothing must go on to commit or roll back.
        return ended ? await never : result;
      } catch (error) {
        await nextTurn();
        if (ended) await never;
        throw error;
      }
    });
    transaction.catch((error) => {
      ended = { error };
    });
    return transaction;
  };
  return Object.assign(client, { begin: guarded as Sql['begin'] });
}
