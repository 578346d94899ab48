{#-
  Refresh by day (DuckDB; Spark builds in full): what is new since a model was built, and which days that affects.
  refresh_rows.sql decides which rows a refresh reads, refresh_state.sql stores the refresh state, by_day.sql writes the rows.

  A load is the set of raw files that one build found new. It affects the days on which its events were shown, and every day from
  the first one on which an outcome of it was known. A model that is one load behind recomputes those days and no others.
-#}

{% macro refresh_plan() -%}
    {#-
      What this build does to this model, as a dict:
        mode    full (all rows), days (the rows of `days`, or of the raw files `new_files`) or none (it is current)
        load    the load up to which the model is current afterwards; none if that is unknown
        days    dates as text, sorted
        why     the reason for a full build, for the log
    -#}
    {%- do day_var('refresh_from') -%}  {#- an error if it is none -#}
    {%- if not execute or target.type != 'duckdb' or model.resource_type != 'model' or model.get('as_full_build') -%}
        {{ return({'mode': 'full', 'days': [], 'new_files': []}) }}
    {%- endif -%}
    {%- if not model.get('refresh_plan') -%}
        {%- do model.update({'refresh_plan': plan_of_raw_files() if model.name == 'parsed_events' else plan_of_table()}) -%}
    {%- endif -%}
    {{ return(model.refresh_plan) }}
{%- endmacro %}

{% macro refreshes_days() -%}
    {{ return(refresh_plan().mode == 'days') }}
{%- endmacro %}

{% macro plan_of_table() -%}
    {%- set records, views = recorded_models(), recorded_views() -%}
    {%- set upstream = state_of_parents(model.unique_id, records, views) -%}
    {%- set plan = {'mode': 'full', 'load': upstream.load, 'days': [], 'new_files': [], 'why': none,
        'fingerprint': fingerprint_of(upstream.fingerprints)} -%}
    {%- set mine = records.get(this | string) -%}
    {%- if not mine or not is_in_place(mine) -%}
        {{ return(plan) }}
    {%- elif should_full_refresh() -%}
        {%- do plan.update({'why': '--full-refresh'}) -%}
    {%- elif mine.fingerprint != plan.fingerprint -%}
        {%- do plan.update({'why': 'its SQL, or a var or a table that it reads, changed'}) -%}
    {%- elif upstream.load is not none -%}
        {%- set new = loads_between(mine.load, upstream.load) -%}
        {%- if not new.is_full -%}
            {%- set days = (new.days + requested_days()) | unique | sort | list -%}
            {%- set of_files = model.name == 'rejected_events' -%}
            {%- set is_current = not new.files if of_files else not days -%}
            {%- do plan.update({'load': [mine.load, upstream.load] | max, 'days': days, 'new_files': new.files,
                'mode': 'none' if is_current else 'days' if refreshed_column() else 'full'}) -%}
            {%- if plan.mode == 'days' -%}{%- do adjust_to_model(plan) -%}{%- endif -%}
        {%- endif -%}
    {%- endif -%}
    {{ return(plan) }}
{%- endmacro %}

{% macro refreshed_column() -%}
    {#- The date or instant whose days are replaced, or `append`; none for a model that is always rebuilt in full. -#}
    {{ return(config.get('meta', {}).get('refresh')) }}
{%- endmacro %}

{% macro adjust_to_model(plan) -%}
    {#- Config meta `merged_base_days`: see merged_base_date. `whole_before` names a var: a change before that day affects every row. -#}
    {%- set meta = config.get('meta', {}) -%}
    {%- if meta.get('whole_before') and plan.days[0] <= instant_var(meta.get('whole_before'))[:10] -%}
        {%- do plan.update({'mode': 'full'}) -%}
    {%- elif meta.get('merged_base_days') -%}
        {#- The table is empty as long as no event has a text: then there is no base to merge into. -#}
        {%- set base = run_query("select cast(min(" ~ refreshed_column() ~ ") as varchar) from " ~ this).columns[0][0] or plan.days[0] -%}
        {%- set merged = [] -%}
        {%- for day in plan.days -%}{%- do merged.append([day, base] | max) -%}{%- endfor -%}
        {%- do plan.update({'days': merged | unique | list, 'base': base}) -%}
    {%- endif -%}
{%- endmacro %}

{% macro plan_of_raw_files() -%}
    {#- If there are new files and nothing else changed, they are added. Anything else is a full build. -#}
    {%- set mine, known = recorded_models().get(this | string), recorded_files() -%}
    {%- set source = ref('src_' ~ adapter_name()) -%}
    {%- do model.update({'raw_scans': {}}) -%}
    {%- do render(node_of(source).raw_code) -%}
    {%- set found, new, gone, changed = {}, {}, [], [] -%}
    {%- for scan, answer in model.raw_scans.items() -%}
        {%- for path, size, modified_ns, number in answer.files -%}
            {%- do found.update({path: true}) -%}
            {%- if path not in known -%}{%- do new.setdefault(scan, []).append(path) -%}
            {%- elif known[path] != [size, modified_ns] -%}{%- do changed.append(path) -%}{%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- for path in known if path not in found -%}{%- do gone.append(path) -%}{%- endfor -%}
    {%- set plan = {'mode': 'full', 'load': next_load(), 'days': [], 'new_files': [], 'scans': model.raw_scans, 'why': none,
        'fingerprint': fingerprint_of([full_build_sql_of(source)])} -%}
    {%- if not mine or not is_in_place(mine) or not known -%}
        {%- do plan.update({'why': 'no earlier build to refresh'}) -%}
    {%- elif should_full_refresh() -%}
        {%- do plan.update({'why': '--full-refresh'}) -%}
    {%- elif mine.fingerprint != plan.fingerprint -%}
        {%- do plan.update({'why': 'the SQL of parsed_events or of the adapter changed, or a var that they read'}) -%}
    {%- elif changed or gone -%}
        {%- set n_more = changed | length + gone | length - 1 -%}
        {%- do plan.update({'why': 'raw file ' ~ raw_dir() ~ '/' ~ (changed[0] ~ ' changed' if changed else gone[0] ~ ' is gone')
            ~ (', and ' ~ n_more ~ ' more' if n_more)}) -%}
    {%- elif not new -%}
        {%- do plan.update({'mode': 'none', 'load': mine.load}) -%}
    {%- else -%}
        {%- set of_events = scans_of_events() -%}
        {%- for scan, paths in new.items() -%}
            {%- do plan.new_files.extend(paths) -%}
            {%- if scan not in of_events and not plan.why -%}
                {%- do plan.update({'why': 'new raw file ' ~ raw_dir() ~ '/' ~ paths[0] ~ ' holds no events, so it may affect any of them'}) -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if not plan.why -%}
            {%- set only = {} -%}
            {%- for scan in of_events -%}{%- do only.update({scan: new.get(scan, [])}) -%}{%- endfor -%}
            {%- do plan.update({'mode': 'days', 'only': only}) -%}
        {%- endif -%}
    {%- endif -%}
    {{ return(plan) }}
{%- endmacro %}

{% macro scans_of_events() -%}
    {#-
      The scans whose files hold events, judged by the files read so far. A lookup's rows aren't events: they may affect events of
      other files, so a new lookup file can't simply be added.
    -#}
    {{ return(run_query("select distinct scan from " ~ state_table('files') ~ " where file in (select source_file from " ~ this ~ ")")
        .columns[0].values() | list) }}
{%- endmacro %}

{% macro requested_days() -%}
    {#- var refresh_from: every day of the log from that one on, whether anything is new or not. -#}
    {%- set first = day_var('refresh_from') -%}
    {%- if not first -%}{{ return([]) }}{%- endif -%}
    {{ return(days_of("select event_date as day, known_date as known_day from " ~ ref_by_name('stg_events')
        ~ " where known_date >= " ~ literal(first))) }}
{%- endmacro %}

{% macro log_plan(plan) -%}
    {#- Logs one line for the raw files, and one for each model that is built in full for a reason of its own. -#}
    {%- if model.name == 'parsed_events' -%}
        {%- set messages = {'full': 'full build: ' ~ plan.why, 'none': 'no raw file is new or changed',
            'days': plan.new_files | length ~ ' new raw file' ~ ('s' if plan.new_files | length > 1)} -%}
        {%- do log('Refresh: ' ~ messages[plan.mode], info=true) -%}
    {%- elif plan.why -%}
        {%- do log('Refresh: full build of ' ~ this.identifier ~ ': ' ~ plan.why, info=true) -%}
    {%- endif -%}
{%- endmacro %}
