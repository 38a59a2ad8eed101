-- Partitions made, attached, detached and dropped in the stream, at both ends.
-- at the source
CREATE SCHEMA attached;
CREATE TABLE attached.p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE attached.p0 PARTITION OF attached.p FOR VALUES FROM (0) TO (100);
CREATE TABLE attached.p1 PARTITION OF attached.p FOR VALUES FROM (100) TO (200);
CREATE TABLE attached.dropped PARTITION OF attached.p FOR VALUES FROM (200) TO (300);
CREATE TABLE attached.own (id int PRIMARY KEY, v text);
INSERT INTO attached.p SELECT i, 'v' FROM generate_series(0, 299) i;
INSERT INTO attached.own SELECT i, 'own' FROM generate_series(300, 350) i;
-- at the source
CREATE TABLE attached.made PARTITION OF attached.p FOR VALUES FROM (400) TO (500);
INSERT INTO attached.p SELECT i, 'made' FROM generate_series(400, 420) i;
ALTER TABLE attached.p ATTACH PARTITION attached.own FOR VALUES FROM (300) TO (400);
INSERT INTO attached.p SELECT i, 'attached' FROM generate_series(360, 370) i;
UPDATE attached.p SET id = 450 WHERE id = 300;
-- at the target
ALTER TABLE attached.p ATTACH PARTITION attached.own FOR VALUES FROM (300) TO (400);
-- at the source
ALTER TABLE attached.p DETACH PARTITION attached.p1;
UPDATE attached.p1 SET v = 'alone' WHERE id < 150;
-- at the target
ALTER TABLE attached.p DETACH PARTITION attached.p1;
-- at the source
INSERT INTO attached.p1 VALUES (5000, 'elsewhere');
DELETE FROM attached.p1 WHERE id = 199;
UPDATE attached.p SET v = 'later' WHERE id > 400;
DROP TABLE attached.dropped;
INSERT INTO attached.p VALUES (99, 'last') ON CONFLICT (id) DO UPDATE SET v = 'last';
-- at the target
DROP TABLE attached.dropped;
