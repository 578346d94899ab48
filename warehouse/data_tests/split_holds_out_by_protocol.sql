-- Under cold_item (cold_user) no held-out item has a train row, no other item a val or test row, and about held_out_share
-- of the items are held out. Under time nothing is excluded.
{%- set key = held_out_key() %}

with

examples as (
    select * from {{ ref('training_examples', v=1) }}
){% if key %},

keys as (
    select
        {{ key }} as key_id,
        case when {{ is_held_out(key) }} then 1 else 0 end as is_held_out,
        count(*) filter (where split = 'train') as n_train,
        count(*) filter (where split in ('val', 'test')) as n_held
    from examples
    group by {{ key }}
),

-- Five standard errors of a binomial share.
drawn as (
    select
        count(*) as n_keys,
        sum(is_held_out) as n_held_out
    from keys
)

select
    key_id || ' is on both sides' as problem
from keys
where (is_held_out = 1 and n_train > 0) or (is_held_out = 0 and n_held > 0)

union all

select
    cast(n_held_out as string) || ' of ' || cast(n_keys as string) || ' held out' as problem
from drawn
where abs(n_held_out - {{ var('held_out_share') }} * n_keys)
    > 5 * sqrt(n_keys * {{ var('held_out_share') }} * (1 - {{ var('held_out_share') }}))

union all

select 'no row is held out in val and test' as problem
from keys
having sum(n_held) = 0 and sum(is_held_out) > 0
{% else %}

select event_id || ' is excluded' as problem
from examples
where split = 'excluded'
{% endif %}
