-- What no log has: unlogged, temporary and foreign tables. Each is named, and none is copied.
-- at the source
CREATE SCHEMA left_out;
CREATE TABLE left_out.t (id int PRIMARY KEY);
CREATE UNLOGGED TABLE left_out.unlogged (id int PRIMARY KEY);
CREATE TEMPORARY TABLE left_out_temporary (id int PRIMARY KEY);
CREATE EXTENSION postgres_fdw SCHEMA left_out;
CREATE SERVER nowhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
CREATE FOREIGN TABLE left_out.foreign_one (id int) SERVER nowhere;
INSERT INTO left_out.t SELECT i FROM generate_series(1, 5) i;
INSERT INTO left_out.unlogged SELECT i FROM generate_series(1, 5) i;
INSERT INTO left_out_temporary SELECT i FROM generate_series(1, 5) i;
-- at the source
INSERT INTO left_out.t VALUES (6);
INSERT INTO left_out.unlogged VALUES (6);
INSERT INTO left_out_temporary VALUES (6);
-- the target holds
SELECT to_regclass('left_out.foreign_one') IS NULL AND to_regclass('left_out.unlogged') IS NULL
