-- Enums, domains over everything, composites of composites, ranges of the user's own.
-- at the source
CREATE SCHEMA own_types;
CREATE TYPE own_types.mood AS ENUM ('sad', 'it''s ok', 'Very Happy', 'ü,"{}');
CREATE DOMAIN own_types.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN own_types.deep AS own_types.positive CHECK (VALUE < 100000);
CREATE DOMAIN own_types.label AS text NOT NULL DEFAULT 'x';
CREATE DOMAIN own_types.moods AS own_types.mood[] CHECK (cardinality(VALUE) < 9);
CREATE TYPE own_types.pair AS (a int, "B c" text, m own_types.mood, gone int);
ALTER TYPE own_types.pair DROP ATTRIBUTE gone;
CREATE TYPE own_types.pairs AS (p own_types.pair, ps own_types.pair[], d own_types.deep);
CREATE DOMAIN own_types.checked AS own_types.pair CHECK ((VALUE).a > 0);
CREATE TYPE own_types.span AS RANGE (subtype = float8);
CREATE TYPE own_types.moodrange AS RANGE (subtype = own_types.mood);
CREATE TABLE own_types.t (id own_types.positive PRIMARY KEY, m own_types.mood, ms own_types.mood[], l own_types.label, d own_types.moods, p own_types.pair, ps own_types.pairs, k own_types.checked,
  s own_types.span, sm own_types.span_multirange, mr own_types.moodrange, dp own_types.deep, dps own_types.deep[], ks own_types.checked[]);
CREATE TABLE own_types.enum_key (m own_types.mood, l own_types.label, v int, PRIMARY KEY (m, l));
CREATE TABLE own_types.no_key (m own_types.mood, p own_types.pair, d own_types.positive, x xml);
CREATE TABLE own_types.row_of (id int PRIMARY KEY, r own_types.enum_key, rs own_types.enum_key[]);
INSERT INTO own_types.t SELECT i, 'sad', '{sad,NULL,"Very Happy","ü,\"{}"}', 'l', '{sad}', ROW(i, 'x,"y"\', 'it''s ok')::own_types.pair, ROW(ROW(i, '', NULL), ARRAY[ROW(1, NULL, 'sad')::own_types.pair, NULL], i)::own_types.pairs, ROW(1, '(', 'sad')::own_types.checked,
  '[1.5,2)', '{[1,2),(3,)}', '[sad,"Very Happy"]', i, '[3:4]={1,2}', ARRAY[ROW(1, '{}', NULL)::own_types.checked, NULL] FROM generate_series(1, 30) i;
INSERT INTO own_types.enum_key VALUES ('sad', 'a', 1), ('it''s ok', 'b', 2), ('Very Happy', 'c', 3);
INSERT INTO own_types.no_key SELECT 'sad', ROW(1, 'x', 'sad')::own_types.pair, 1, '<a/>' FROM generate_series(1, 3);
INSERT INTO own_types.row_of VALUES (1, ROW('sad', 'x', 1), '{}');
-- at the source
INSERT INTO own_types.t SELECT i, 'Very Happy', '{}', '', NULL, ROW(NULL, '', NULL)::own_types.pair, NULL, NULL, 'empty', '{}', NULL, NULL, NULL, NULL FROM generate_series(31, 60) i;
UPDATE own_types.t SET m = 'it''s ok', p = NULL, ps.p = ROW(7, 'seven', 'sad') WHERE id < 10;
UPDATE own_types.t SET id = id + 100 WHERE id < 5;
DELETE FROM own_types.t WHERE id = 50;
UPDATE own_types.enum_key SET m = 'it''s ok' WHERE m = 'sad';
DELETE FROM own_types.enum_key WHERE l = 'c';
DELETE FROM own_types.no_key WHERE ctid = (SELECT min(ctid) FROM own_types.no_key);
UPDATE own_types.no_key SET p = ROW(2, 'z', NULL) WHERE ctid = (SELECT min(ctid) FROM own_types.no_key);
INSERT INTO own_types.row_of SELECT 2, e, ARRAY[e, NULL] FROM own_types.enum_key e LIMIT 1;
-- at the target
ALTER TYPE own_types.mood ADD VALUE 'new' BEFORE 'sad';
-- at the source
ALTER TYPE own_types.mood ADD VALUE 'new' BEFORE 'sad';
-- at the source
UPDATE own_types.t SET m = 'new', ms = ms || 'new'::own_types.mood WHERE id < 30;
INSERT INTO own_types.enum_key VALUES ('new', 'new', 1);
