-- Partitions that the user's own publication publishes as their root's. Truncating one of them is in no log.
-- at the source
CREATE SCHEMA via_root;
CREATE TABLE via_root.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE via_root.p0 PARTITION OF via_root.p FOR VALUES FROM (0) TO (100);
CREATE TABLE via_root.p1 (v text, id int NOT NULL);
ALTER TABLE via_root.p ATTACH PARTITION via_root.p1 FOR VALUES FROM (100) TO (200);
INSERT INTO via_root.p SELECT i, 'v' FROM generate_series(0, 198, 2) i;
CREATE PUBLICATION shapes_own FOR TABLE via_root.p, public.shapes_round WITH (publish_via_partition_root = true);
-- at the source
INSERT INTO via_root.p VALUES (150, 'again') ON CONFLICT (id) DO UPDATE SET v = 'again';
UPDATE via_root.p SET id = 51 WHERE id = 152;
UPDATE via_root.p SET v = 'u' WHERE id > 180;
DELETE FROM via_root.p WHERE id IN (10, 110);
DELETE FROM via_root.p1 WHERE id < 150;
INSERT INTO via_root.p VALUES (111, 'after');
-- at the source
TRUNCATE via_root.p;
INSERT INTO via_root.p SELECT i, 'again' FROM generate_series(90, 110) i;
