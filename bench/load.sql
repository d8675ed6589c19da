-- bench/load.sql: the events of a shop with :orders orders, the same in every run. Nothing projects them yet.
--
-- The orders lie in the three years from 2023 on and have three items on average. A few customers and products
-- have a large part of them, most have few.
--
-- Random numbers are hashes. Hash partitioning requires that they stay the same from version to version.

CREATE SCHEMA bench;
SET search_path = bench;

-- noise is a number from 0 to less than 1 that n and the purpose determine.
CREATE FUNCTION noise(n bigint, purpose int) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT (hashint8extended(n, purpose) & 281474976710655) / 281474976710656.0::float8';

-- skewed picks one of 1..count, of which few are picked often: the share of the k-th falls like k to the power
-- of -0.8. Which number is the first, second ... is scattered.
CREATE FUNCTION skewed(noise float8, count int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT ((7919 * floor((1 + noise * (count ^ 0.2 - 1)) ^ 5)::bigint) % count)::int + 1';

CREATE FUNCTION pick(noise float8, words text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT words[1 + floor(noise * cardinality(words))::int]';

CREATE FUNCTION customer_name(n int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN noise(n, 1) < 0.25 THEN
		pick(noise(n, 2), '{김,이,박,최,정,강,조,윤,장,임,한,오,서,신,권,황,안,송,류,홍}') ||
		pick(noise(n, 3), '{민준,서준,도윤,예준,시우,하준,지호,주원,지후,준우,서연,서윤,지우,서현,하은,하윤,민서,지유,윤서,채원,수아,은지,영희,철수}')
	ELSE
		pick(noise(n, 4), '{Anna,Ben,Chloé,David,Emma,François,Grace,Henry,Ines,José,Karen,Lukas,Mia,Noah,Olivia,Paul,Quinn,Rosa,Sören,Tom,Ute,Victor,Wendy,Xavier,Yara,Zoë,Ayşe,Björn,Carla,Dieter,Elif,Finn}') || ' ' ||
		pick(noise(n, 5), '{Ander,Berg,Carl,Dahl,Eber,Fran,Green,Holm,Iver,Jack,Kauf,Lind,Müll,Nor,Ober,Peter,Quist,Rosen,Stein,Thom,Ulm,Vand,Wester,Young,Zim}') ||
		pick(noise(n, 6), '{a,ber,den,el,en,er,ing,is,kel,le,li,man,mer,o,quin,re,ter,wal,win,y}') ||
		pick(noise(n, 7), '{berg,burn,by,croft,dale,feld,ford,gaard,ham,hart,lund,mann,more,sen,shaw,smith,son,stedt,ton,wood}')
	END
$$;

CREATE FUNCTION product_name(n int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT pick(noise(n, 11), '{Amber,Birch,Blue,Brass,Canvas,Ceramic,Copper,Cotton,Dark,Delicate,Foldable,Glass,Golden,Heavy,Ivory,Large,Leather,Light,Linen,Maple,Marble,Matte,Oak,Plain,Porcelain,Quiet,Round,Silver,Small,Square,Striped,Velvet,Walnut,White,Woollen,따뜻한,새로운,작은,큰,푸른}') || ' ' ||
		pick(noise(n, 12), '{apron,armchair,basket,bench,blanket,board,bottle,bowl,box,brush,candle,carpet,chair,clock,cup,curtain,cushion,desk,drawer,frame,jar,jug,kettle,knife,ladder,lamp,mirror,mug,pan,pillow,plate,pot,rack,scarf,shelf,sofa,spoon,stool,table,teapot,tray,vase,가방,그릇,램프,모자,의자,책상,컵,탁자}') || ' ' || n
$$;

-- Most categories are large; of the last three, one product in 500, 1,000 and 2,000 is one.
CREATE FUNCTION product_category(n int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT ('{kitchen,living room,bedroom,office,garden,bath,lighting,textiles,storage,decoration,children,dining,hall,crafts,books,도서,music,games,sports,travel,pets,tools,antiques,instruments,curiosities}'::text[])
		[1 + CASE WHEN n % 2000 = 7 THEN 24 WHEN n % 1000 = 13 THEN 23 WHEN n % 500 = 21 THEN 22
			ELSE floor(22 * noise(n, 13) ^ 2)::int END]
$$;

CREATE FUNCTION product_price(n int) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT round(exp(1 + 5 * noise(n, 14) ^ 1.5)::numeric, 2)';

-- An order's life ends in one of these ways; the shares are those among old and among recent orders.
CREATE TABLE life (number int, old numeric, recent numeric, events text[]);
INSERT INTO life VALUES
	(1, 0.922, 0.130, '{OrderCreated,PaymentRequested,PaymentCompleted,OrderCompleted}'),
	(2, 0.015, 0.010, '{OrderCreated,OrderCompleted}'),
	(3, 0.047, 0.035, '{OrderCreated,OrderCancelled}'),
	(4, 0.010, 0.005, '{OrderCreated,PaymentRequested,PaymentCompleted,OrderCancelled,PaymentRefunded}'),
	(5, 0.002, 0.005, '{OrderCreated,PaymentRequested,PaymentFailed,OrderCancelled}'),
	(6, 0.001, 0.005, '{OrderCreated,PaymentRequested,PaymentFailed}'),
	(7, 0.000, 0.300, '{OrderCreated,PaymentRequested}'),
	(8, 0.000, 0.110, '{OrderCreated,PaymentRequested,PaymentCompleted}'),
	(9, 0.003, 0.400, '{OrderCreated}');

SELECT greatest(100, least(50000, :orders / 20)) AS customers, greatest(100, least(10000, :orders / 20)) AS products,
       '2023-01-01 00:00Z'::timestamptz AS first_day, '2026-01-01 00:00Z'::timestamptz AS last_day \gset

SET session_replication_role = replica;
INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
SELECT 'default', 'Customer', n::text, 1, 'CustomerChanged',
       jsonb_build_object('name', customer_name(n), 'email', 'customer' || n || '@example.org'), session_user, :'first_day'::timestamptz
  FROM generate_series(1, :customers) n
UNION ALL
SELECT 'default', 'Product', n::text, 1, 'ProductChanged',
       jsonb_build_object('name', product_name(n), 'category', product_category(n)), session_user, :'first_day'::timestamptz
  FROM generate_series(1, :products) n;

-- Order n was created in the n-th part of the three years, its id is a UUID of version 7 of that time, and its
-- later events came within days. The last 4 % of the orders are recent. The number of items is distributed
-- geometrically.
INSERT INTO order_cqrs.events (tenant_id, aggregate_type, aggregate_id, version, event_type, data, actor, occurred_at)
WITH share AS MATERIALIZED (
	SELECT events, (sum(old) OVER w - old)::float8 AS old_from, (sum(old) OVER w)::float8 AS old_to,
	       (sum(recent) OVER w - recent)::float8 AS recent_from, (sum(recent) OVER w)::float8 AS recent_to
	  FROM life WINDOW w AS (ORDER BY number)
), created AS (
	SELECT n, :'first_day'::timestamptz
	       + (:'last_day'::timestamptz - :'first_day'::timestamptz) * ((n - 1 + noise(n, 21)) / :orders) AS created_at,
	       skewed(noise(n, 22), :customers) AS customer,
	       least(20, 1 + floor(ln(1 - noise(n, 23)) / ln(2 / 3.0::float8))::int) AS items, s.events
	  FROM generate_series(1, :orders) n,
	       LATERAL (SELECT events FROM share
	                 WHERE CASE WHEN n > 0.96 * :orders THEN noise(n, 24) >= recent_from AND noise(n, 24) < recent_to
	                       ELSE noise(n, 24) >= old_from AND noise(n, 24) < old_to END) s
)
SELECT 'default', 'Order', (lpad(to_hex((extract(epoch FROM created_at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
           || '8' || substr(md5(n::text), 4, 15))::uuid::text,
       e.version, e.event_type,
       CASE e.event_type
           WHEN 'OrderCreated' THEN jsonb_build_object('customer_id', customer::text, 'items', l.items, 'total_amount', l.total)
           WHEN 'PaymentRequested' THEN jsonb_build_object('amount', l.total)
           WHEN 'PaymentRefunded' THEN jsonb_build_object('amount', l.total)
           WHEN 'PaymentCompleted' THEN jsonb_build_object('reference', 'reference-' || n)
           WHEN 'PaymentFailed' THEN jsonb '{"reason": "declined"}'
           WHEN 'OrderCancelled' THEN jsonb '{"reason": "changed mind"}'
           ELSE jsonb '{}' END,
       session_user, created_at + interval '5 days' * (e.version - 1) * noise(n, 25) ^ 4
  FROM created c,
       LATERAL (SELECT jsonb_agg(jsonb_build_object('product_id', product::text, 'quantity', quantity, 'unit_price', price)
                                 ORDER BY line) AS items, sum(quantity * price) AS total
                  FROM (SELECT line, skewed(noise(n * 32 + line, 26), :products) AS product,
                               CASE WHEN noise(n * 32 + line, 27) > 0.999 THEN 100
                                    ELSE 1 + floor(5 * noise(n * 32 + line, 28) ^ 3)::int END AS quantity,
                               product_price(skewed(noise(n * 32 + line, 26), :products)) AS price
                          FROM generate_series(1, c.items) line) i) l,
       LATERAL unnest(c.events) WITH ORDINALITY AS e (event_type, version);
RESET session_replication_role;
