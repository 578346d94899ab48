{#- on-run-end: where the test features_drift warns, one line with the features, the furthest from train first. -#}

{% macro report_drift(results) -%}
    {%- for result in results if result.node.name == 'features_drift' and result.status == 'warn' -%}
        {%- set rows = run_query("select * from (" ~ result.node.compiled_code ~ ") as drifted order by psi desc, feature").rows -%}
        {%- set named = [] -%}
        {%- for row in rows.values()[:10] -%}
            {%- do named.append('%s (PSI %.2f, train\'s days up to %s)' % (row['feature'], row['psi'],
                'none' if row['psi_of_train_days'] is none else '%.2f' % row['psi_of_train_days'])) -%}
        {%- endfor -%}
        {%- do log('Drift on ' ~ rows[0]['event_date'] ~ ': ' ~ named | join(', ')
            ~ (' and ' ~ (rows | length - 10) ~ ' more' if rows | length > 10 else '') ~ '. See feature_profile.', info=true) -%}
    {%- endfor -%}
{%- endmacro %}
