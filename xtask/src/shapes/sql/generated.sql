-- Columns that the server computes and stores.
-- at the source
CREATE SCHEMA generated;
CREATE TABLE generated.t (first int GENERATED ALWAYS AS (id * 2) STORED, id int PRIMARY KEY, v text, up text GENERATED ALWAYS AS (upper(v)) STORED, long text GENERATED ALWAYS AS (repeat(v, 4000)) STORED);
CREATE TABLE generated.no_key (a int, b int GENERATED ALWAYS AS (-a) STORED);
INSERT INTO generated.t (id, v) SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO generated.no_key SELECT 1 FROM generate_series(1, 5);
-- at the source
INSERT INTO generated.t (id, v) SELECT i, 'w' || i FROM generate_series(21, 60) i;
UPDATE generated.t SET v = 'u' WHERE id < 5;
UPDATE generated.t SET id = -id WHERE id > 50;
DELETE FROM generated.t WHERE id = 30;
INSERT INTO generated.no_key VALUES (2);
DELETE FROM generated.no_key WHERE ctid = (SELECT min(ctid) FROM generated.no_key);
UPDATE generated.no_key SET a = 7 WHERE ctid = (SELECT min(ctid) FROM generated.no_key);
