"""Functions of Postgres that do more than read, though a read-only transaction lets them.

With them one conversation sees what others ask, ends their statements, takes locks that programs
wait for, writes to the log of changes, reaches other machines, or does as another role may. A
statement can't be held back from calling what its role may call, so the role must not:
`deploy/postgres-reader.sql` makes one that may not, by this same condition.
"""

HARMFUL = r"""
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
"""
"""Of a row `p` of pg_proc."""

CALLABLE = f"""
    SELECT p.proname FROM pg_proc p
    WHERE has_schema_privilege(p.pronamespace, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
      AND {HARMFUL}
    GROUP BY 1 ORDER BY min((p.pronamespace = 'pg_catalog'::regnamespace)::int), 1
"""
"""Names of those that the current role may call; those that are not Postgres's own first."""
