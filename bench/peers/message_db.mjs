// A consumer of Message DB, written for speed: consume BATCH EVENTS. Each batch is written with one
// statement, which also moves the checkpoint; prints events a second.
import pg from 'pg';
import { perSecond } from './clients.mjs';

const [, batch, events] = process.argv.slice(2);
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
await client.query(`CREATE TABLE summary (order_id text PRIMARY KEY, customer_id text NOT NULL,
  status text NOT NULL, total numeric NOT NULL, item_count int NOT NULL)`);
await client.query('CREATE TABLE checkpoint (position bigint NOT NULL)');
await client.query('INSERT INTO checkpoint VALUES (0)');

// The last word on each order within a batch; fields that no event of the batch sets are null.
function fold(messages) {
  const orders = new Map();
  for (const { stream_name, type, data } of messages) {
    const order = orders.get(stream_name) ?? { status: 'PENDING' };
    const facts = JSON.parse(data);
    if (type === 'OrderCreated') order.customer_id = facts.customer_id;
    if (type === 'OrderCompleted') order.status = 'COMPLETED';
    if (facts.items) Object.assign(order, { total: facts.total_amount, item_count: facts.items.length });
    orders.set(stream_name, order);
  }
  return orders;
}

const write = `WITH c AS (UPDATE checkpoint SET position = $6),
  f AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::int[])
        AS f (order_id, customer_id, status, total, item_count)),
  u AS (UPDATE summary s SET status = f.status, total = coalesce(f.total, s.total),
               item_count = coalesce(f.item_count, s.item_count)
          FROM f WHERE f.customer_id IS NULL AND s.order_id = f.order_id)
  INSERT INTO summary SELECT * FROM f WHERE customer_id IS NOT NULL ON CONFLICT DO NOTHING`;

const start = Date.now();
let position = 0n;
for (;;) {
  const { rows } = await client.query({ name: 'read',
    text: `SELECT * FROM get_category_messages('order', $1, $2)`, values: [position + 1n, batch] });
  if (rows.length === 0) break;
  const orders = fold(rows);
  const column = (name) => Array.from(orders.values(), (order) => order[name]);
  position = BigInt(rows.at(-1).global_position);
  await client.query({ name: 'write', text: write, values: [Array.from(orders.keys()),
    column('customer_id'), column('status'), column('total'), column('item_count'), position] });
}
perSecond(Number(events), start);
await client.end();
