-- Tables without a key, with another replica identity, with deferred keys; large values that are not changed.
-- at the source
CREATE SCHEMA keys;
CREATE TABLE keys.none (a int, b text, j json, p point);
CREATE TABLE keys.whole (id int PRIMARY KEY, v text, big text);
ALTER TABLE keys.whole REPLICA IDENTITY FULL;
CREATE TABLE keys.by_index (id int PRIMARY KEY, u text NOT NULL, v text, big text);
CREATE UNIQUE INDEX by_u ON keys.by_index (u);
ALTER TABLE keys.by_index REPLICA IDENTITY USING INDEX by_u;
CREATE TABLE keys.toast (id int PRIMARY KEY, a text, b text, n int);
ALTER TABLE keys.toast ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
CREATE TABLE keys.deferred (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v text);
CREATE TABLE keys.swaps (id int PRIMARY KEY, v text);
CREATE TABLE keys.only_unique (u int UNIQUE, v text);
INSERT INTO keys.none SELECT i % 3, 'b', '{"a":  1}', '(1,2)' FROM generate_series(1, 12) i;
INSERT INTO keys.whole SELECT i, 'v', repeat('big', 10000) FROM generate_series(1, 20) i;
INSERT INTO keys.by_index SELECT i, 'u' || i, 'v', repeat('big', 10000) FROM generate_series(1, 20) i;
INSERT INTO keys.toast SELECT i, repeat(md5(i::text), 500), repeat(md5(i::text), 300), i FROM generate_series(1, 20) i;
INSERT INTO keys.deferred SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO keys.swaps SELECT i, 'v' || i FROM generate_series(1, 20) i;
INSERT INTO keys.only_unique SELECT nullif(i, 5), 'v' FROM generate_series(1, 10) i;
-- at the source
UPDATE keys.none SET b = 'u' WHERE ctid = (SELECT min(ctid) FROM keys.none WHERE a = 1);
DELETE FROM keys.none WHERE ctid = (SELECT min(ctid) FROM keys.none WHERE a = 2);
INSERT INTO keys.none VALUES (NULL, NULL, NULL, NULL), (NULL, NULL, NULL, NULL);
DELETE FROM keys.none WHERE ctid = (SELECT max(ctid) FROM keys.none WHERE a IS NULL);
UPDATE keys.whole SET v = 'u' WHERE id < 5;
UPDATE keys.whole SET id = -id WHERE id > 15;
UPDATE keys.by_index SET v = 'w' WHERE id < 5;
UPDATE keys.by_index SET u = 'changed' || id, id = id + 100 WHERE id > 15;
DELETE FROM keys.by_index WHERE id = 7;
UPDATE keys.toast SET n = -n;
UPDATE keys.toast SET b = 'short', id = id + 100 WHERE id < 5;
UPDATE keys.toast SET id = -id WHERE id BETWEEN 6 AND 9;
UPDATE keys.swaps SET id = id + 1000; UPDATE keys.swaps SET id = 1021 - id;
UPDATE keys.only_unique SET v = 'u' WHERE u < 3;
DELETE FROM keys.only_unique WHERE u IS NULL;
-- at the source
BEGIN; UPDATE keys.deferred SET id = 21 - id; COMMIT;
BEGIN; SAVEPOINT a; INSERT INTO keys.swaps VALUES (5000, 'never'); ROLLBACK TO a; INSERT INTO keys.swaps VALUES (5001, 'kept'); COMMIT;
BEGIN; INSERT INTO keys.swaps SELECT i, 'never' FROM generate_series(6000, 9000) i; ROLLBACK;
