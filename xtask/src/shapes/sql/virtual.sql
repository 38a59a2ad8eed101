-- Columns that the server computes when they are read.
-- at the source
CREATE SCHEMA virtual;
CREATE TABLE virtual.t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL, v text, doubled text GENERATED ALWAYS AS (v || v), kept text GENERATED ALWAYS AS (upper(v)) STORED);
INSERT INTO virtual.t (id, v) SELECT i, 'v' || i FROM generate_series(1, 20) i;
-- at the source
INSERT INTO virtual.t (id, v) SELECT i, 'w' || i FROM generate_series(21, 60) i;
UPDATE virtual.t SET v = 'u' WHERE id < 5;
UPDATE virtual.t SET id = -id WHERE id > 50;
DELETE FROM virtual.t WHERE id = 30;
