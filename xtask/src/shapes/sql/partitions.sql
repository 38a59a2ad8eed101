-- Partitions by list, range and hash, nested, with columns in other places; rows that move; attached, detached and dropped in the stream.
-- at the source
CREATE SCHEMA partitions;
CREATE TABLE partitions.m (id int, region text, at date, v text, PRIMARY KEY (id, region, at)) PARTITION BY LIST (region);
CREATE TABLE partitions.m_eu PARTITION OF partitions.m FOR VALUES IN ('eu') PARTITION BY RANGE (at);
CREATE TABLE partitions.m_eu_1 PARTITION OF partitions.m_eu FOR VALUES FROM ('2024-01-01') TO ('2024-02-01');
CREATE TABLE partitions.m_eu_2 PARTITION OF partitions.m_eu FOR VALUES FROM ('2024-02-01') TO (MAXVALUE);
CREATE TABLE partitions.m_us (v text, at date NOT NULL, gone int, region text NOT NULL, id int NOT NULL);
ALTER TABLE partitions.m_us DROP COLUMN gone;
ALTER TABLE partitions.m ATTACH PARTITION partitions.m_us FOR VALUES IN ('us', NULL);
CREATE TABLE partitions.m_rest PARTITION OF partitions.m DEFAULT;
CREATE TABLE partitions.h (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
CREATE TABLE partitions.h0 PARTITION OF partitions.h FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE partitions.h1 PARTITION OF partitions.h FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE partitions.r (a int, b timestamptz, v text) PARTITION BY RANGE (a, b);
CREATE TABLE partitions.r0 PARTITION OF partitions.r FOR VALUES FROM (MINVALUE, MINVALUE) TO (10, '2024-01-01 00:00+00');
CREATE TABLE partitions.r1 PARTITION OF partitions.r FOR VALUES FROM (10, '2024-01-01 00:00+00') TO (MAXVALUE, MAXVALUE);
CREATE TABLE partitions.nothing_in_it (id int PRIMARY KEY) PARTITION BY RANGE (id);
INSERT INTO partitions.m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'v' FROM generate_series(1, 100) i;
INSERT INTO partitions.h SELECT i, 'v' FROM generate_series(1, 50) i;
INSERT INTO partitions.r SELECT i, '2024-01-01 00:00+00', 'v' FROM generate_series(1, 20) i;
-- at the source
INSERT INTO partitions.m SELECT i, (ARRAY['eu', 'us', 'xx'])[1 + i % 3], '2024-01-01'::date + i % 50, 'w' FROM generate_series(101, 200) i;
UPDATE partitions.m SET region = 'us' WHERE id = 3;
UPDATE partitions.m SET at = '2024-02-02' WHERE region = 'eu' AND at = '2024-01-04';
UPDATE partitions.m SET v = 'u' WHERE id % 7 = 0;
DELETE FROM partitions.m WHERE id % 11 = 0;
UPDATE partitions.m_us SET id = id + 1000 WHERE id < 20;
UPDATE partitions.h SET id = id + 100;
DELETE FROM partitions.h WHERE id = 120;
INSERT INTO partitions.r SELECT i, '2025-01-01 00:00+00', 'w' FROM generate_series(5, 15) i;
-- at the source
TRUNCATE partitions.m_eu_1;
INSERT INTO partitions.m VALUES (1, 'eu', '2024-01-05', 'after');
TRUNCATE partitions.h;
INSERT INTO partitions.h SELECT i, 'again' FROM generate_series(1, 9) i;
