// Functions that the Node.js programs share: the order, clients that work side by side, and the output of a rate.
export const items = [
  { product_id: '17', quantity: 2, unit_price: '4.50' },
  { product_id: '42', quantity: 1, unit_price: '12.00' },
  { product_id: '99', quantity: 10, unit_price: '0.75' },
];

export function perSecond(count, start) {
  console.log((count / ((Date.now() - start) / 1000)).toFixed(2));
}

// withClients calls work(id) again and again, by so many clients at a time, after a second of warming up. Ids
// begin with the time, so that those of two runs differ.
export async function withClients(clients, seconds, work) {
  const second = process.env.QUICK === 'yes' ? 50 : 1000;
  const begin = Date.now();
  const warm = begin + second;
  const end = warm + second * seconds;
  let count = 0;
  const client = async (number) => {
    for (let n = 0; Date.now() < end; n++) {
      await work(`${begin}${String(number).padStart(2, '0')}${n}`);
      if (Date.now() > warm) count++;
    }
  };
  await Promise.all(Array.from({ length: Number(clients) }, (_, number) => client(number)));
  perSecond(count, warm);
}
