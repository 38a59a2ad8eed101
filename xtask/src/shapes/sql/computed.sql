-- Views come over, materialised ones are computed anew; large objects are named and stay.
-- at the source
CREATE SCHEMA computed;
CREATE TABLE computed.t (id int PRIMARY KEY, o oid);
INSERT INTO computed.t SELECT i, lo_from_bytea(0, '\x01') FROM generate_series(1, 3) i;
CREATE VIEW computed.v AS SELECT id FROM computed.t;
CREATE MATERIALIZED VIEW computed.m AS SELECT count(*) AS n FROM computed.t;
CREATE UNIQUE INDEX m_n ON computed.m (n);
-- at the source
INSERT INTO computed.t SELECT i, 0 FROM generate_series(4, 9) i;
-- the target holds
SELECT (SELECT count(*) FROM computed.v) = 9 AND (SELECT n FROM computed.m) >= 3 AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
