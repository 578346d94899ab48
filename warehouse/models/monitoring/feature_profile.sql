-- Grain: one dense feature (one per element of a list) and event_date. Its health, and its drift from the train split.
{{ config(meta={'refresh': 'event_date', 'whole_when': 'train_is_touched'}, schema=protocol_schema()) }}
{%- set inputs = dense_inputs('training_examples') %}
{%- set shares_of_deciles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] %}
{%- set n_present, means, values, quantiles_of_day, deciles_of_train = [], [], [], [], [] %}
{%- for input in inputs %}
{%- do n_present.append('count(' ~ input.expression ~ ')') %}
{%- do means.append('avg(' ~ input.expression ~ ')') %}
{%- do values.append(input.expression) %}
{%- do quantiles_of_day.append(quantiles(element('numbers', loop.index), [0.05, 0.5, 0.95])) %}
{%- do deciles_of_train.append(quantiles(element('numbers', loop.index), shares_of_deciles)) %}
{%- endfor %}
{#- A day is halved as often as needed to come down to var profile_rows: the largest day for each step, the bound of the hash (4 hex digits) and a row's weight. #}
{%- set steps = [] %}
{%- for k in range(17) %}
{%- do steps.append({
    'up_to': (var('profile_rows') | int) * 2 ** k, 'bound': '%04x' % (65536 // 2 ** k) if k else 'g', 'weight': 2 ** k}) %}
{%- endfor %}
{#- n_<k>: how many values are above the k-th decile of train; n_0: how many there are. A bin holds the difference: first the NULLs, then the deciles. #}
{%- set in_bins = [['n_sampled - n_0', 'n_train - n_train_0']] %}
{%- for k in range(9) %}{% do in_bins.append(['n_%d - n_%d' % (k, k + 1), 'n_train_%d - n_train_%d' % (k, k + 1)]) %}{% endfor %}
{%- do in_bins.append(['n_9', 'n_train_9']) %}
{%- set shares_of_train = [] %}
{%- for _, of_train in in_bins %}
{%- do shares_of_train.append('sum(' ~ of_train ~ ') over w_feature / cast(sum(n_train) over w_feature as double)') %}
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

-- ... and some rows of each day, drawn by hash, for the shape of the distribution. Spark computes a CTE anew wherever it is read,
-- so a row's features stay side by side in a list; only for the bins each has a row, in one grouping.
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

described as (
    select
        event_date,
        {{ array_of(quantiles_of_day) if inputs else empty_array('double') }} as quantiles
    from sampled
    group by event_date
),

-- What a day is compared to. A refresh that recomputes no day of train takes it from the stored rows of other days.
trained as (
    {%- if is_incremental() %}
    select
        inputs.position,
        any_value(before.train_deciles) as deciles,
        any_value(before.train_shares) as shares
    from inputs
    left join {{ this }} as before on inputs.feature = before.feature
    group by inputs.position
    {%- else %}
    select
        inputs.position,
        {{ element('of_all.deciles', 'inputs.position') }} as deciles
    from inputs
    cross join (
        select {{ array_of(deciles_of_train) if inputs else empty_array('double') }} as deciles
        from sampled
        where is_train
    ) as of_all
    {%- endif %}
),

measured as (
    select
        trained.*,
        sampled.event_date,
        case when sampled.is_train then sampled.weight else 0 end as train_weight,
        {{ element('sampled.numbers', 'trained.position') }} as number
    from sampled
    cross join trained
),

filled as (
    select
        position,
        event_date,
        any_value(deciles) as train_deciles,
        {%- if is_incremental() %}
        any_value(shares) as train_shares,
        {%- endif %}
        count(*) as n_sampled,
        sum(train_weight) as n_train,
        count(number) as n_0,
        sum(case when number is not null then train_weight else 0 end) as n_train_0
        {%- for _ in shares_of_deciles %},
        count(case when number > {{ element('deciles', loop.index) }} then 1 end) as n_{{ loop.index }},
        sum(case when number > {{ element('deciles', loop.index) }} then train_weight else 0 end) as n_train_{{ loop.index }}
        {%- endfor %}
    from measured
    group by position, event_date
),

compared as (
    select
        *
        {%- if not is_incremental() %},
        case when sum(n_train) over w_feature > 0 then {{ array_of(shares_of_train) }} end as train_shares
        {%- endif %}
    from filled
    {%- if not is_incremental() %}
    window w_feature as (partition by position)
    {%- endif %}
)

-- PSI: a share of zero counts as one in ten thousand, on both sides.
select
    inputs.feature,
    counted.event_date,
    {% for in_bin, _ in in_bins %}
    {%- set of_day, of_train = 'greatest((' ~ in_bin ~ ') / cast(n_sampled as double), 0.0001)',
        'greatest(coalesce(' ~ element('train_shares', loop.index) ~ ', 0), 0.0001)' -%}
    {{ '+ ' if not loop.first }}({{ of_day }} - {{ of_train }}) * ln({{ of_day }} / {{ of_train }})
    {% endfor %} as psi,
    counted.n_rows,
    compared.n_sampled,
    1 - {{ element('counted.n_present', 'inputs.position') }} / counted.n_rows as null_rate,
    {{ element('counted.means', 'inputs.position') }} as mean,
    {{ element(element('described.quantiles', 'inputs.position'), 1) }} as q05,
    {{ element(element('described.quantiles', 'inputs.position'), 2) }} as q50,
    {{ element(element('described.quantiles', 'inputs.position'), 3) }} as q95,
    compared.train_deciles,
    compared.train_shares
from compared
inner join inputs on compared.position = inputs.position
inner join counted on compared.event_date = counted.event_date
inner join described on compared.event_date = described.event_date
