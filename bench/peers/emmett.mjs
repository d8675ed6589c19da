// Emmett's library at work, on the database of DATABASE_URL; prints events or appends a second.
//
//   setup                             makes the schema
//   append CLIENTS SECONDS            appends one event a stream
//   inline CLIENTS SECONDS            the same with a projection in the transaction
//   consume [BATCH PAUSE] EVENTS      has a consumer write a read table from that many events; with default settings
//                                     if batch size and pause, in ms, are left out
//   follow SECONDS                    has a consumer with default settings do so for that long
import { getPostgreSQLEventStore, postgreSQLEventStoreConsumer, postgreSQLRawSQLProjection }
  from '@event-driven-io/emmett-postgresql';
import { rawSql, sql } from '@event-driven-io/dumbo';
import { items, perSecond, withClients } from './clients.mjs';

const url = process.env.DATABASE_URL;

const table = `CREATE TABLE IF NOT EXISTS summary (order_id text PRIMARY KEY, customer_id text NOT NULL,
  status text NOT NULL, total numeric NOT NULL, item_count int NOT NULL)`;

const statementFor = ({ type, data, metadata: { streamName } }) => {
  switch (type) {
    case 'OrderCreated':
      return sql(`INSERT INTO summary VALUES (%L, %L, 'PENDING', %L, %L) ON CONFLICT (order_id) DO NOTHING`,
        streamName, data.customer_id, data.total_amount, data.items.length);
    case 'OrderUpdated':
      return sql('UPDATE summary SET total = %L, item_count = %L WHERE order_id = %L',
        data.total_amount, data.items.length, streamName);
    default:
      return sql(`UPDATE summary SET status = 'COMPLETED' WHERE order_id = %L`, streamName);
  }
};

const summary = postgreSQLRawSQLProjection({
  name: 'summary',
  canHandle: ['OrderCreated', 'OrderUpdated', 'OrderCompleted'],
  evolve: statementFor,
  init: () => rawSql(table),
});

async function setup() {
  const store = getPostgreSQLEventStore(url);
  await store.schema.migrate();
  await store.close();
}

async function appendWith(projections, clients, seconds) {
  const store = getPostgreSQLEventStore(url, { projections });
  await store.schema.migrate();
  const data = { customer_id: '1', total_amount: 28.5, items };
  await withClients(clients, seconds, (id) =>
    store.appendToStream(`order-${id}`, [{ type: 'OrderCreated', data }]));
  await store.close();
}

const append = (clients, seconds) => appendWith([], clients, seconds);
const inline = (clients, seconds) => appendWith([{ type: 'inline', projection: summary }], clients, seconds);

function consumerOf(name, options) {
  const consumer = postgreSQLEventStoreConsumer({ connectionString: url, ...options });
  consumer.projector({ processorId: name, projection: { ...summary, name }, startFrom: 'BEGINNING' });
  return consumer;
}

async function consume(...args) {
  const events = Number(args.pop());
  const pulling = args.length ? { batchSize: Number(args[0]), pullingFrequencyInMs: Number(args[1]) } : {};
  const consumer = consumerOf(`consume ${args}`, { pulling, stopWhen: { noMessagesLeft: true } });
  const start = Date.now();
  await consumer.start();
  perSecond(events, start);
  await consumer.close();
}

async function follow(seconds) {
  consumerOf('follow', {}).start();
  await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}

const [work, ...args] = process.argv.slice(2);
await { setup, append, inline, consume, follow }[work](...args);
process.exit();
