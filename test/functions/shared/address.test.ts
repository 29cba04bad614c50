import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { clientNetwork, networkOf } from '#shared/address.ts';

test.each([
  ['203.0.113.9', '203.0.113.9'],
  ['::ffff:203.0.113.9', '203.0.113.9'],
  ['2001:db8:12:34:5678::1', '2001:db8:12:34::/64'],
  ['2001:0DB8:0012:0034:ffff:ffff:ffff:ffff', '2001:db8:12:34::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['', ''],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test.each([
  // What a client writes itself stands before what the proxies add.
  [1, '198.51.100.1, 203.0.113.9', '203.0.113.9'],
  [2, '198.51.100.1, 203.0.113.9, 10.0.0.1', '203.0.113.9'],
  [1, '203.0.113.9, unknown', ''],
  [2, '203.0.113.9', ''],
  [0, '203.0.113.9', ''],
])('with %i trusted proxies, of "%s" %j is believed', async (proxies, header, expected) => {
  const app = new Hono().get('/', (context) => context.text(clientNetwork(context, proxies)));
  const answer = await app.request('/', { headers: { 'X-Forwarded-For': header } });
  expect(await answer.text()).toBe(expected);
});
