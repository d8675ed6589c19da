// Emmett's library at work. DATABASE_URL says where; prints what it measured, figures a second.
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const url = process.env.DATABASE_URL;

async function setup() {
  const store = getPostgreSQLEventStore(url);
  await store.schema.migrate();
  await store.close();
}

const [work, ...args] = process.argv.slice(2);
await { setup }[work](...args);
