-- Schemas for `grantlog replay`. The application may not create schemas; this function makes one of a plain name that
-- is free, or that a replay made before, and lets the caller put tables into it.
CREATE FUNCTION grantlog.make_as_of_schema(p_schema text, p_replace boolean, p_position bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mark constant text := 'Grantlog as of position ';
    said text;
BEGIN
    IF p_schema !~ '^[a-z][a-z0-9_]{0,62}$' OR starts_with(p_schema, 'pg_')
       OR p_schema IN ('public', 'grantlog', 'information_schema') THEN
        RAISE EXCEPTION 'not the name of a schema to replay into' USING ERRCODE = 'invalid_schema_name';
    END IF;
    SELECT coalesce(obj_description(oid, 'pg_namespace'), '') INTO said FROM pg_namespace WHERE nspname = p_schema;
    IF FOUND THEN
        IF NOT p_replace OR NOT starts_with(said, mark) THEN
            RAISE EXCEPTION 'the schema is there' USING ERRCODE = 'duplicate_schema';
        END IF;
        EXECUTE format('DROP SCHEMA %I CASCADE', p_schema);
    END IF;
    EXECUTE format('CREATE SCHEMA %I', p_schema);
    EXECUTE format('COMMENT ON SCHEMA %I IS %L', p_schema, mark || p_position);
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', p_schema, session_user);
END $$;

REVOKE ALL ON FUNCTION grantlog.make_as_of_schema FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grantlog.make_as_of_schema TO grantlog_app;
