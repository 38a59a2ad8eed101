-- Every built-in type with the values at its edges: as a column, in arrays of other dimensions and lower bounds, under a domain, in a
-- composite and in an array of domains.
-- at the source
CREATE SCHEMA types;
CREATE TABLE types.literals (type text, literal text);
INSERT INTO types.literals VALUES
('bool', 't'), ('bool', 'f'),
('int2', '-32768'), ('int2', '32767'), ('int4', '-2147483648'), ('int4', '2147483647'),
('int8', '-9223372036854775808'), ('int8', '9223372036854775807'),
('float4', '-0'), ('float4', 'NaN'), ('float4', 'Infinity'), ('float4', '-Infinity'), ('float4', '1e-45'), ('float4', '3.4028235e38'), ('float4', '0.1'),
('float8', '-0'), ('float8', 'NaN'), ('float8', 'Infinity'), ('float8', '-Infinity'), ('float8', '5e-324'), ('float8', '1.7976931348623157e308'),
('float8', '0.30000000000000004'),
('numeric', 'NaN'), ('numeric', 'Infinity'), ('numeric', '-Infinity'), ('numeric', '0.000'), ('numeric', '-0.1'), ('numeric', '1e1000'), ('numeric', '1e-1000'),
('numeric', '123456789012345678901234567890.1234567890'), ('numeric', '10000'), ('numeric(10,2)', '99999999.99'), ('numeric(10,2)', 'NaN'), ('numeric(10,2)', '0'),
('money', '-92233720368547758.08'), ('money', '92233720368547758.07'), ('money', '0'),
('text', ''), ('text', '\N'), ('text', '\.'), ('text', E'tab\tnew line\ncarriage\rback\\slash "quotes" ''and'' more'), ('text', E'\x01\x7f'), ('text', 'ü€𝄞'), ('text', 'NULL'),
('text', repeat('long ', 100000)), ('varchar(20)', ''), ('varchar(20)', '  two  '), ('character(8)', ''), ('character(8)', 'abc'), ('character(8)', '𝄞'),
('"char"', ''), ('"char"', 'x'), ('"char"', E'\\'), ('name', ''), ('name', 'é' || repeat('x', 61)),
('bytea', ''), ('bytea', '\x00'), ('bytea', '\x5c4e0aff00'), ('bit(3)', '101'), ('bit(3)', '000'), ('varbit', ''), ('varbit', repeat('10', 100)), ('bit(1)', '1'),
('date', 'infinity'), ('date', '-infinity'), ('date', '4714-11-24 BC'), ('date', '5874897-12-31'), ('date', '0044-03-15 BC'), ('date', '2024-02-29'),
('time', '24:00'), ('time', '00:00'), ('time', '23:59:59.999999'), ('time(0)', '12:34:56'), ('timetz', '24:00-15:59'), ('timetz', '00:00+15:59'), ('timetz', '23:59:59.999999+00'),
('timestamp', 'infinity'), ('timestamp', '-infinity'), ('timestamp', '4714-11-24 00:00:00 BC'), ('timestamp', '294276-12-31 23:59:59.999999'), ('timestamp(3)', '1969-12-31 23:59:59.999'),
('timestamptz', 'infinity'), ('timestamptz', '-infinity'), ('timestamptz', '4714-11-24 00:00:00+00 BC'), ('timestamptz', '294276-12-31 23:59:59.999999+00'), ('timestamptz', '2024-03-31 01:30:00+00'),
('interval', '178000000 years'), ('interval', '-178000000 years'), ('interval', '-1 year 2 mons -3 days 04:05:06.7'), ('interval', '0'), ('interval', '-00:00:00.000001'), ('interval year to month', '1 year 2 mons'),
('uuid', '00000000-0000-0000-0000-000000000000'), ('uuid', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
('json', '{"b": 1,  "a": [1, null], "b": 2}'), ('json', 'null'), ('json', '"\u00e9\ud834\udd1e"'), ('json', '1e400'), ('json', '[]'),
('jsonb', '{"b": 1, "a": [1, null, {}], "": ""}'), ('jsonb', 'null'), ('jsonb', '1.10'), ('jsonb', '"ü\\"'), ('jsonb', '1e400'),
('jsonpath', '$.a[*] ? (@ > 1)'), ('jsonpath', '$'), ('xml', ''), ('xml', 'text only'), ('xml', '<a b="c">é&amp;</a><d/>'), ('xml', '<?xml version="1.0"?><a/>'),
('inet', '10.1.2.3/24'), ('inet', '::'), ('inet', '0.0.0.0/0'), ('inet', 'ffff::1/127'), ('cidr', '10.1.0.0/16'), ('cidr', '::/0'),
('macaddr', '08:00:2b:01:02:03'), ('macaddr8', '08:00:2b:01:02:03:04:05'),
('point', '(-0,NaN)'), ('point', '(1e300,Infinity)'), ('line', '{1,2,3}'), ('lseg', '[(0,0),(1,1)]'), ('box', '(1,1),(0,0)'), ('box', '(Infinity,1),(0,-Infinity)'),
('path', '((0,0),(1,1),(1,0))'), ('path', '[(0,0)]'), ('polygon', '((0,0),(1,1),(1,0))'), ('circle', '<(0,0),5>'), ('circle', '<(0,0),Infinity>'),
('tsvector', ''), ('tsvector', 'a fat:1A cat:2,3B ''it''''s'''), ('tsquery', ''), ('tsquery', 'fat & !(cat:*A <-> ''x y'')'),
('oid', '0'), ('oid', '4294967295'), ('xid', '4294967295'), ('xid8', '0'), ('xid8', '18446744073709551615'), ('cid', '7'), ('tid', '(4294967295,65535)'),
('pg_lsn', '0/0'), ('pg_lsn', 'FFFFFFFF/FFFFFFFF'), ('txid_snapshot', '10:20:10,14,15'), ('pg_snapshot', '1:1:'),
('int4range', 'empty'), ('int4range', '[1,5)'), ('int4range', '(,)'), ('int8range', '[-9223372036854775808,9223372036854775807)'),
('numrange', '(1.50,]'), ('numrange', '[1.5,NaN]'), ('daterange', '[2024-01-01,)'), ('daterange', '(-infinity,infinity)'), ('tsrange', '[-infinity,infinity]'),
('tstzrange', '(4714-11-24 00:00:00+00 BC,2024-01-01 00:00:00+00]'),
('int4multirange', '{}'), ('int4multirange', '{[1,3),[5,7)}'), ('int8multirange', '{(,)}'), ('nummultirange', '{[1.0,2.0],(3,)}'), ('datemultirange', '{(,2024-01-01),[2025-01-01,)}'),
('tsmultirange', '{(-infinity,infinity)}'), ('tstzmultirange', '{["2024-01-01 00:00+00",)}'),
('int2vector', ''), ('int2vector', '1 -2 3'), ('oidvector', '1 4294967295'), ('regclass', 'pg_class'), ('regtype', 'int4'), ('regproc', 'now'), ('regnamespace', 'pg_catalog'),
('refcursor', 'a cursor');
DO $$ DECLARE t record; made text; BEGIN
  FOR t IN SELECT type, trim('_' FROM regexp_replace(type, '\W+', '_', 'g')) || CASE WHEN type ~ '"' THEN '_quoted' ELSE '' END AS name FROM types.literals GROUP BY type LOOP
    EXECUTE format('CREATE DOMAIN types.%I AS %s', t.name || '_domain', t.type);
    EXECUTE format('CREATE TYPE types.%I AS (first %s, "Rest" %s[])', t.name || '_pair', t.type, t.type);
    EXECUTE format('CREATE TABLE types.%I (id int PRIMARY KEY, plain %s, list %s[], deep %s[], under types.%I, unders types.%I[], pair types.%I, pairs types.%I[])',
      t.name, t.type, t.type, t.type, t.name || '_domain', t.name || '_domain', t.name || '_pair', t.name || '_pair');
    made := format('SELECT n, v, ARRAY[v, NULL, v], array_fill(v, ARRAY[2,1,2], ARRAY[-1,0,7]), v, ARRAY[v, NULL], ROW(v, ARRAY[v])::types.%I, ARRAY[ROW(v, NULL), NULL]::types.%I[]
      FROM (SELECT (row_number() OVER ())::int + 0, literal::%s FROM types.literals WHERE type = %L) AS _ (n, v)', t.name || '_pair', t.name || '_pair', t.type, t.type);
    EXECUTE format('INSERT INTO types.%I ', t.name) || made;
    EXECUTE format('INSERT INTO types.%I (id, list, unders) VALUES (0, ''{}'', ''{}'')', t.name);
    EXECUTE format('CREATE TABLE types.%I (LIKE types.%I)', t.name || ' no key', t.name);
    EXECUTE format('ALTER TABLE types.%I REPLICA IDENTITY FULL', t.name || ' no key');
    EXECUTE format('INSERT INTO types.%I ', t.name || ' no key') || made;
  END LOOP;
END $$;
-- at the source
DO $$ DECLARE t record; i int; BEGIN
  FOR t IN SELECT quote_ident(relname) AS name FROM pg_class WHERE relnamespace = 'types'::regnamespace AND relkind = 'r' AND relname <> 'literals' ORDER BY 1 LOOP
    EXECUTE format('INSERT INTO types.%s SELECT id + 100, plain, list, deep, under, unders, pair, pairs FROM types.%s', t.name, t.name);
    EXECUTE format('INSERT INTO types.%s SELECT id + 200, plain, list, deep, under, unders, pair, pairs FROM types.%s WHERE id < 100', t.name, t.name);
    -- Others' values, by index and by the whole row.
    EXECUTE format('UPDATE types.%s o SET (plain, list, deep, under, unders, pair, pairs) = (SELECT plain, deep, list, under, unders, pair, pairs FROM types.%s n WHERE n.id = 1) WHERE id > 200', t.name, t.name);
    EXECUTE format('UPDATE types.%s SET plain = NULL, pair = ROW(NULL, ''{}'') WHERE id = 1', t.name);
    EXECUTE format('UPDATE types.%s SET id = -id WHERE id BETWEEN 1 AND 99', t.name);
    EXECUTE format('DELETE FROM types.%s WHERE id = 102', t.name);
  END LOOP;
END $$;
