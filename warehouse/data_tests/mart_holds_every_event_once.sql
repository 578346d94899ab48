-- The joins of training_examples neither lose a row nor make one.
with

events as (
    select event_id from {{ ref('stg_events') }}
    where {{ in_tested_days('event_date') }}
),

examples as (
    select event_id from {{ ref('training_examples', v=1) if is_built(ref('training_examples', v=1)) else ref('stg_events') }}
    where {{ in_tested_days('event_date') }}
),

lost as (
    select * from events
    except all
    select * from examples
),

made as (
    select * from examples
    except all
    select * from events
)

select
    'lost' as problem,
    event_id
from lost

union all

select
    'made' as problem,
    event_id
from made
