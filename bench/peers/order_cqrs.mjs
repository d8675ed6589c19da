// order_create from Node.js, for the comparison with Emmett's library: append CLIENTS SECONDS.
import pg from 'pg';
import { items, withClients } from './clients.mjs';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const [, clients, seconds] = process.argv.slice(2);
await withClients(clients, seconds, (id) => pool.query({
  name: 'create', text: 'CALL order_cqrs.order_create($1, $2, $3)', values: [id, '1', JSON.stringify(items)] }));
await pool.end();
