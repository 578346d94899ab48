-- Grain: one dense feature (one per element of a list) and event_date. Its health, and its drift from the train split.
{{ config(meta={'refresh': 'event_date', 'whole_when': 'train_is_touched'}, schema=protocol_schema()) }}
{%- set inputs = dense_inputs('training_examples') %}
{%- set deciles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] %}
{%- set n_present, means, values = [], [], [] %}
{%- for input in inputs %}
{%- do n_present.append('count(' ~ input.expression ~ ')') %}
{%- do means.append('avg(' ~ input.expression ~ ')') %}
{%- do values.append(input.expression) %}
{%- endfor %}
{#- A day is halved as often as needed to come down to var profile_rows: the largest day for each step, the bound of the hash (4 hex digits) and a row's weight. #}
{%- set steps = [] %}
{%- for k in range(17) %}
{%- do steps.append({
    'up_to': (var('profile_rows') | int) * 2 ** k, 'bound': '%04x' % (65536 // 2 ** k) if k else 'g', 'weight': 2 ** k}) %}
{%- endfor %}
{%- set shares = [] %}
{%- for bin in range(-1, 10) %}
{%- do shares.append('coalesce(max(case when train_bins.bin = ' ~ bin ~ ' then train_bins.share end), 0)') %}
{%- endfor %}

with

inputs (position, feature) as (
    values
    {%- for input in inputs %}
    ({{ loop.index }}, {{ literal(input.name) }}){{ ',' if not loop.last }}
    {%- else %}
    (0, 'none')
    {%- endfor %}
),

-- Bin -1 holds the NULLs, the others are the deciles of the train split.
bins (bin) as (
    values (-1), (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)
),

-- One pass over every row for what must be exact ...
counted as (
    select
        event_date,
        count(*) as n_rows,
        {{ array_of(n_present, cast_to='double') }} as n_present,
        {{ array_of(means, cast_to='double') }} as means
    from {{ ref('training_examples') }}
    where split <> 'excluded' and {{ in_days('event_date') }}
    group by event_date
),

thinned as (
    select
        event_date,
        case
            {%- for step in steps %}
            when n_rows <= {{ step.up_to }} then '{{ step.bound }}'
            {%- endfor %}
        end as bound,
        case
            {%- for step in steps %}
            when n_rows <= {{ step.up_to }} then {{ step.weight }}
            {%- endfor %}
        end as weight
    from counted
),

-- ... and some rows of each day, drawn by hash, for the shape of the distribution.
sampled as (
    select
        examples.event_date,
        examples.split = 'train' as is_train,
        thinned.weight,
        {{ array_of(values, cast_to='double') }} as numbers
    from {{ ref('training_examples') }} as examples
    inner join thinned on examples.event_date = thinned.event_date
    where examples.split <> 'excluded' and substr(md5(examples.event_id), 1, 4) < thinned.bound
),

measured as (
    select
        inputs.position,
        sampled.event_date,
        sampled.is_train,
        sampled.weight,
        {{ element('sampled.numbers', 'inputs.position') }} as number
    from sampled
    cross join inputs
),

-- What a day is compared to. A refresh that recomputes no day of train takes it from the stored rows of other days.
edges as (
    {%- if is_incremental() %}
    select
        inputs.position,
        any_value(before.train_deciles) as edges,
        any_value(before.train_shares) as shares
    from {{ this }} as before
    inner join inputs on before.feature = inputs.feature
    group by inputs.position
    {%- else %}
    select
        position,
        {{ quantiles('number', deciles) }} as edges
    from measured
    where is_train
    group by position
    {%- endif %}
),

described as (
    select
        position,
        event_date,
        count(*) as n_sampled,
        {{ quantiles('number', [0.05, 0.5, 0.95]) }} as quantiles
    from measured
    group by position, event_date
),

binned as (
    select
        measured.position,
        measured.event_date,
        measured.is_train,
        measured.weight,
        case when measured.number is null then -1 else
            {%- for _ in deciles %}
            case when measured.number > {{ element('edges.edges', loop.index) }} then 1 else 0 end {{ '+' if not loop.last }}
            {%- endfor %}
        end as bin
    from measured
    left join edges on measured.position = edges.position
),

filled as (
    select
        position,
        event_date,
        bin,
        max(weight) as weight,
        count(*) as n,
        sum(case when is_train then 1 else 0 end) as n_train
    from binned
    group by position, event_date, bin
),

train_bins as (
    select
        position,
        bin,
        sum(n_train * weight) / cast(sum(sum(n_train * weight)) over (partition by position) as double) as share
    from filled
    group by position, bin
    having sum(n_train) > 0
),

train as (
    {%- if is_incremental() %}
    select * from edges
    {%- else %}
    select
        edges.position,
        edges.edges,
        {{ array_of(shares) }} as shares
    from edges
    left join train_bins on edges.position = train_bins.position
    group by edges.position, edges.edges
    {%- endif %}
),

-- A share of zero counts as one in ten thousand, on both sides.
compared as (
    select
        described.position,
        described.event_date,
        greatest(coalesce(filled.n, 0) / cast(described.n_sampled as double), 0.0001) as day_share,
        greatest(coalesce({{ element('train.shares', 'bins.bin + 2') }}, 0), 0.0001) as train_share
    from described
    cross join bins
    left join filled
        on
            described.position = filled.position
            and described.event_date = filled.event_date
            and bins.bin = filled.bin
    left join train on described.position = train.position
),

drifted as (
    select
        position,
        event_date,
        sum((day_share - train_share) * ln(day_share / train_share)) as psi
    from compared
    group by position, event_date
)

select
    inputs.feature,
    counted.event_date,
    drifted.psi,
    counted.n_rows,
    described.n_sampled,
    1 - {{ element('counted.n_present', 'inputs.position') }} / counted.n_rows as null_rate,
    {{ element('counted.means', 'inputs.position') }} as mean,
    {{ element('described.quantiles', 1) }} as q05,
    {{ element('described.quantiles', 2) }} as q50,
    {{ element('described.quantiles', 3) }} as q95,
    train.edges as train_deciles,
    train.shares as train_shares
from counted
cross join inputs
inner join described on inputs.position = described.position and counted.event_date = described.event_date
inner join drifted on inputs.position = drifted.position and counted.event_date = drifted.event_date
left join train on inputs.position = train.position
