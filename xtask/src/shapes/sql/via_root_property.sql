-- The property that makes the stream's own publication do so; a partition that is made later; no key.
-- at the source
CREATE SCHEMA via_root_property;
CREATE TABLE via_root_property.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE via_root_property.p0 PARTITION OF via_root_property.p FOR VALUES FROM (0) TO (100) PARTITION BY HASH (id);
CREATE TABLE via_root_property.p00 PARTITION OF via_root_property.p0 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE via_root_property.p01 PARTITION OF via_root_property.p0 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE via_root_property.k (n int, v text) PARTITION BY LIST (n);
CREATE TABLE via_root_property.k_rest PARTITION OF via_root_property.k DEFAULT;
INSERT INTO via_root_property.p SELECT i, 'v' FROM generate_series(0, 98, 2) i;
INSERT INTO via_root_property.k SELECT i % 5, 'v' || i % 3 FROM generate_series(1, 30) i;
-- at the source
UPDATE via_root_property.p SET id = id + 1 WHERE id % 10 = 0;
DELETE FROM via_root_property.p WHERE id = 4;
UPDATE via_root_property.k SET v = 'same' WHERE n = 2;
DELETE FROM via_root_property.k WHERE v = 'v1';
-- at the source
CREATE TABLE via_root_property.p1 PARTITION OF via_root_property.p FOR VALUES FROM (100) TO (200);
INSERT INTO via_root_property.p SELECT i, 'later' FROM generate_series(100, 110) i;
UPDATE via_root_property.p SET id = id + 150 WHERE id < 20;
