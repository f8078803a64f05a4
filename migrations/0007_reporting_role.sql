-- A role that reads the projections and nothing else, for reports and support: GRANT grantlog_reader TO somebody.
-- Where the owner may not create roles there is none, and the function below does nothing.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grantlog_reader') THEN
        CREATE ROLE grantlog_reader NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL; -- another database of this server was migrated at the same moment
WHEN insufficient_privilege THEN
    RAISE NOTICE 'the role grantlog_reader was not created: the owner of the schema may not create roles';
END $$;

-- Lets grantlog_reader read a projection's view but for the columns that are withheld. Each projection's file calls
-- it when its view is made, as the role that owns the view.
CREATE FUNCTION grantlog.let_read(p_view text, withheld text[]) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    shown text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grantlog_reader') THEN
        RETURN;
    END IF;
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO shown
    FROM pg_attribute
    WHERE attrelid = ('public.' || quote_ident(p_view))::regclass AND attnum > 0 AND NOT attisdropped
      AND attname <> ALL (withheld);
    EXECUTE format('REVOKE ALL ON public.%I FROM grantlog_reader', p_view);
    EXECUTE format('GRANT SELECT (%s) ON public.%I TO grantlog_reader', shown, p_view);
END $$;

REVOKE ALL ON FUNCTION grantlog.let_read FROM PUBLIC;
GRANT EXECUTE ON FUNCTION grantlog.let_read TO grantlog_app;

-- Its columns are Laravel Passport's now; CREATE OR REPLACE could not rename the ones it had.
DROP VIEW IF EXISTS public.oauth_clients;
