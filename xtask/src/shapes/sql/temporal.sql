-- Keys with a period in them.
-- at the source
CREATE EXTENSION btree_gist;
CREATE SCHEMA temporal;
CREATE TABLE temporal.t (id int, valid daterange, v text, PRIMARY KEY (id, valid WITHOUT OVERLAPS));
INSERT INTO temporal.t SELECT i, daterange('2024-01-01', '2024-06-01'), 'v' FROM generate_series(1, 20) i;
-- at the source
INSERT INTO temporal.t SELECT i, daterange('2024-06-01', NULL), 'w' FROM generate_series(1, 20) i;
UPDATE temporal.t SET v = 'u' WHERE id < 5 AND valid @> '2024-01-01'::date;
UPDATE temporal.t SET valid = daterange('2024-07-01', NULL) WHERE id = 7 AND valid @> '2025-01-01'::date;
DELETE FROM temporal.t WHERE id = 9 AND valid @> '2024-01-01'::date;
