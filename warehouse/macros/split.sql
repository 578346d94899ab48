{#-
  Which rows are train, validation and test. One rule per protocol:
    time       all rows: train before val_from, val before test_from, test from there on
    cold_item  the same instants, but a hashed held_out_share of the items never trains: before val_from the other items'
               rows are train, from then on the held-out items' rows are val and test, and every other row is `excluded`
    cold_user  likewise for users
  So val and test measure only items (users) that no training row holds, and no test row is earlier than a train row.
  What is held out is the training rows, not the history: features and levels see every event, as a server would.
-#}

{% macro protocol() -%}
    {{ return(var('protocol') if var('protocol') in ['time', 'cold_item', 'cold_user'] else exceptions.raise_compiler_error(
        "var protocol is '" ~ var('protocol') ~ "', expected one of time, cold_item, cold_user.")) }}
{%- endmacro %}

{#- The column whose values are held out, or none. -#}
{% macro held_out_key() -%} {{ return({'cold_item': 'item_id', 'cold_user': 'user_id'}.get(protocol())) }} {%- endmacro %}

{#- int_events and what follows from it differ by protocol: each protocol but `time` has its own schema and marts. -#}
{% macro protocol_schema() -%} {{ return(none if protocol() == 'time' else protocol()) }} {%- endmacro %}

{#- The vars that decide a row's split, for the build record. -#}
{% macro split_vars() -%} {{ return({'protocol': protocol(), 'split_salt': var('split_salt'), 'held_out_share': var('held_out_share')}) }} {%- endmacro %}

{% macro is_held_out(key) -%}
    {#- The share of keys whose salted md5 is small: hex digits compare as numbers do, on every engine. -#}
    {%- set share = var('held_out_share') | float -%}
    {%- if not 0 < share < 1 -%}
        {{ exceptions.raise_compiler_error("var held_out_share is " ~ var('held_out_share') ~ ", expected a number between 0 and 1, such as 0.1.") }}
    {%- endif -%}
    substr(md5({{ literal(var('split_salt') ~ ':') }} || {{ key }}), 1, 8) < '{{ '%08x' % (share * 4294967296) | int }}'
{%- endmacro %}

{% macro split_of(event_at) -%}
    {%- set val_from, test_from, key = instant_var('val_from'), instant_var('test_from'), held_out_key() -%}
    {%- if val_from >= test_from -%}
        {{ exceptions.raise_compiler_error("val_from (" ~ val_from ~ ") must be before test_from (" ~ test_from ~ ") for dataset "
            ~ var('dataset') ~ "; both are UTC.") }}
    {%- endif %}
    case
        {%- if key %}
        when ({{ event_at }} < timestamp {{ literal(val_from) }}) = ({{ is_held_out(key) }}) then 'excluded'
        {%- endif %}
        when {{ event_at }} < timestamp {{ literal(val_from) }} then 'train'
        when {{ event_at }} < timestamp {{ literal(test_from) }} then 'val'
        else 'test'
    end
{%- endmacro %}
