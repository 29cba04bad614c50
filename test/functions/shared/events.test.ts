import { expect, test } from 'vitest';
import { compareSequencers, parseObjectEvents } from '#shared/events.ts';

const record = (key: string, eventName = 'ObjectCreated:Post', object: object = {}) => ({
  eventVersion: '2.3',
  eventName,
  awsRegion: 'us-east-1',
  s3: {
    s3SchemaVersion: '1.0',
    bucket: { name: 'b', arn: 'x' },
    object: { key, size: 3, eTag: 'e', sequencer: '0A', ...object },
  },
});
const parse = (...records: object[]) => parseObjectEvents(JSON.stringify({ Records: records }));

test.each([
  ['a+b%2Bc', 'a b+c'],
  ['%EA%B3%A0%EC%96%91%EC%9D%B4+1%25.jpg', '고양이 1%.jpg'],
  ['uploads/p/c/i', 'uploads/p/c/i'],
  ['%F0%9F%90%88', '🐈'],
])('the key %j is called %j in the bucket', (encoded, key) => {
  expect(parse(record(encoded))[0]!.key).toBe(key);
});

test('several records, created and removed, with and without s3: in front; other kinds are passed over', () => {
  const events = parse(
    record('a'),
    record('b', 's3:ObjectCreated:CompleteMultipartUpload', { eTag: '"quoted"' }),
    record('c', 'ObjectRemoved:DeleteMarkerCreated', { eTag: undefined, size: undefined, sequencer: undefined }),
    record('d', 'ObjectTagging:Put'),
  );
  expect(events).toEqual([
    { kind: 'created', bucket: 'b', key: 'a', etag: 'e', sequencer: '0A' },
    { kind: 'created', bucket: 'b', key: 'b', etag: 'quoted', sequencer: '0A' },
    { kind: 'removed', bucket: 'b', key: 'c', etag: null, sequencer: null },
  ]);
});

test('S3’s test event gives nothing', () => {
  expect(parseObjectEvents('{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}')).toEqual([]);
});

test.each([
  '',
  'no json',
  '{}',
  '[]',
  '{"Records":[{}]}',
  '{"Event":"other"}',
  JSON.stringify({ Records: [record('%E0%A4%A')] }),
])('%j is no event, and says what was expected', (body) => {
  expect(() => parseObjectEvents(body)).toThrow(/^Expected .*(S3 event)/);
});

test('sequencers: the shorter is padded on the right, hexadecimal digits compare whatever their case', () => {
  expect(compareSequencers('0055AED6DCD90281E5', '0055AED6DCD90281E6')).toBeLessThan(0);
  expect(compareSequencers('0055AED6DCD90281E5', '0055AED6DCD90281E501')).toBeLessThan(0);
  expect(compareSequencers('0056', '0055AED6DCD90281E501')).toBeGreaterThan(0);
  expect(compareSequencers('00a', '00A000')).toBe(0);
  const ordered = ['00', '0055AA', '0055AA01', '0055B', '1'];
  expect([...ordered].reverse().sort(compareSequencers)).toEqual(ordered);
});
