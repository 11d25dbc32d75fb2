-- A role for `sql_url` that can read this database and do nothing else. Run it as a superuser, in
-- the database that is to be read, and again after an upgrade or a new extension:
--
--     psql -d DATABASE -v password=SECRET -f postgres-reader.sql
--
-- Everybody may call Postgres's functions unless they are told otherwise, so those that do more than
-- read are taken from everybody and given back to all roles that exist but this one, by a role of
-- their own: GRANT agentlm_everybody_else TO a role that you make later and that misses them. Which
-- they are stands between two lines `harmful`: by this the server refuses other roles.
\set ON_ERROR_STOP on
BEGIN;

SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agentlm_reader') AS is_new \gset
\if :is_new
CREATE ROLE agentlm_reader LOGIN PASSWORD :'password' NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
CREATE ROLE agentlm_everybody_else NOLOGIN;
\endif
GRANT pg_read_all_data TO agentlm_reader;  -- or GRANT SELECT on what it may see
ALTER ROLE agentlm_reader SET default_transaction_read_only = on;
ALTER ROLE agentlm_reader SET temp_file_limit = '1GB';  -- a sort without end would fill the disk

DO $script$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT oid::regrole AS name FROM pg_roles
        WHERE NOT rolsuper AND rolname NOT LIKE 'pg\_%'
          AND rolname NOT IN ('agentlm_reader', 'agentlm_everybody_else')
    LOOP
        EXECUTE format('GRANT agentlm_everybody_else TO %s', one.name);
    END LOOP;
    FOR one IN
        SELECT p.oid::regprocedure AS name,
               has_function_privilege('public', p.oid, 'EXECUTE') AS everybodys
        FROM pg_proc p WHERE p.prokind <> 'a' AND (
            -- harmful
            p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype) AND (
                p.prosecdef
                OR p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ (
                    '^(lo_.*|loread|lowrite|pg_(terminate|cancel)_backend|pg_logical_.*|pg_replication_.*'
                    '|pg_(create|copy|drop|sync)_.*slots?|pg_(try_)?advisory_.*lock.*|pg_export_snapshot'
                    '|pg_stat_get_(activity|backend_.*|progress_info|wal_senders|subscription)'
                    '|pg_stat_reset.*|pg_log_.*|pg_log_backend.*|pg_read_.*|pg_ls_.*|pg_stat_file'
                    '|pg_(reload_conf|rotate_logfile.*|promote|switch_wal|create_restore_point)'
                    '|pg_(backup|start_backup|stop_backup|wal_replay).*|pg_import_system_collations'
                    '|pg_notify)$'
                )
                OR (SELECT NOT lanpltrusted AND lanname NOT IN ('internal', 'c')
                    FROM pg_language WHERE oid = p.prolang)
                OR EXISTS (
                    SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
                      AND d.refclassid = 'pg_extension'::regclass AND e.extname IN (
                        'adminpack', 'aws_lambda', 'aws_s3', 'dblink', 'file_fdw', 'http', 'pageinspect',
                        'pg_background', 'pg_cron', 'pg_net', 'pg_stat_statements', 'pg_stat_monitor',
                        'plproxy', 'postgres_fdw'))
            )
            -- harmful
        )
    LOOP
        EXECUTE format('REVOKE EXECUTE ON ROUTINE %s FROM PUBLIC, agentlm_reader', one.name);
        IF one.everybodys THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO agentlm_everybody_else', one.name);
        END IF;
    END LOOP;
END
$script$;

COMMIT;
