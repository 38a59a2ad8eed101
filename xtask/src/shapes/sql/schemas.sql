-- A hundred schemas with a table of the same name.
-- at the source
DO $$ BEGIN FOR i IN 1..100 LOOP
  EXECUTE format('CREATE SCHEMA %I; CREATE TABLE %1$I.t (id int PRIMARY KEY, v text); INSERT INTO %1$I.t SELECT n, %1$L FROM generate_series(1, 5) n', 'schemas ' || i);
END LOOP; END $$;
-- at the source
DO $$ BEGIN FOR i IN 1..100 LOOP
  EXECUTE format('INSERT INTO %I.t VALUES (100, %1$L); UPDATE %1$I.t SET v = ''u'' WHERE id = 1; DELETE FROM %1$I.t WHERE id = 2', 'schemas ' || i);
END LOOP; END $$;
