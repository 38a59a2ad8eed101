-- 1,600 columns.
-- at the source
CREATE SCHEMA wide;
DO $$ BEGIN
  EXECUTE 'CREATE TABLE wide.t (id int2 PRIMARY KEY, ' || (SELECT string_agg(format('c%s %s', i, CASE i % 3 WHEN 0 THEN 'text' ELSE 'int2' END), ', ') FROM generate_series(1, 1599) i) || ')';
  EXECUTE 'INSERT INTO wide.t SELECT n, ' || (SELECT string_agg(CASE WHEN i % 7 = 0 THEN 'NULL' ELSE (i % 100)::text END, ', ') FROM generate_series(1, 1599) i) || ' FROM generate_series(1, 20) n';
END $$;
-- at the source
DO $$ BEGIN
  EXECUTE 'INSERT INTO wide.t SELECT n, ' || (SELECT string_agg(CASE WHEN i % 3 = 0 THEN 'NULL' ELSE (i % 90)::text END, ', ') FROM generate_series(1, 1599) i) || ' FROM generate_series(21, 50) n';
END $$;
UPDATE wide.t SET c1 = 5, c1599 = NULL WHERE id < 10;
UPDATE wide.t SET id = -id WHERE id > 40;
DELETE FROM wide.t WHERE id = 11;
