-- A database in LATIN1.
-- at the source
CREATE SCHEMA "latin1";
CREATE TABLE "latin1"."Größe" ("schlüssel" text PRIMARY KEY, "ä" text, e "char", x xml, j json, jb jsonb, n name, l text[], b bytea);
CREATE TYPE "latin1"."Färbung" AS ENUM ('grün', 'weiß');
CREATE TABLE "latin1".typed (f "latin1"."Färbung" PRIMARY KEY, fs "latin1"."Färbung"[]);
INSERT INTO "latin1"."Größe" SELECT 'ö' || i, 'naïve café £ ÿ', 'x', '<é/>', '"ü"', '{"ü": "é"}', 'ñ', '{é,NULL}', '\xe9' FROM generate_series(1, 20) i;
INSERT INTO "latin1".typed VALUES ('grün', '{weiß}');
-- at the source
INSERT INTO "latin1"."Größe" SELECT 'ß' || i, 'é', NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM generate_series(1, 40) i;
UPDATE "latin1"."Größe" SET "ä" = 'æ' WHERE "schlüssel" LIKE 'ö1%';
UPDATE "latin1"."Größe" SET "schlüssel" = 'Ü' || "schlüssel" WHERE "schlüssel" LIKE 'ß2%';
DELETE FROM "latin1"."Größe" WHERE "schlüssel" = 'ö5';
INSERT INTO "latin1".typed VALUES ('weiß', '{grün,weiß}');
