-- Partitions that the publication publishes as their root's.
-- at the source
CREATE SCHEMA via_root;
CREATE TABLE via_root.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE via_root.p0 PARTITION OF via_root.p FOR VALUES FROM (0) TO (100);
CREATE TABLE via_root.p1 (v text, id int NOT NULL);
ALTER TABLE via_root.p ATTACH PARTITION via_root.p1 FOR VALUES FROM (100) TO (200);
INSERT INTO via_root.p SELECT i, 'v' FROM generate_series(0, 199) i;
-- at the source
INSERT INTO via_root.p VALUES (150, 'again') ON CONFLICT (id) DO UPDATE SET v = 'again';
UPDATE via_root.p SET id = id - 50 WHERE id = 101;
