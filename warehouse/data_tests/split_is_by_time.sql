-- No train row is later than a validation row, no validation row later than a test row.
with

spans as (
    select
        split,
        min(event_at) as first_at,
        max(event_at) as last_at
    from {{ ref('training_examples', v=1) }}
    group by split
)

select
    earlier.split as earlier_split,
    later.split as later_split
from spans as earlier
inner join spans as later
    on
        (earlier.split = 'train' and later.split in ('val', 'test'))
        or (earlier.split = 'val' and later.split = 'test')
where earlier.last_at >= later.first_at
