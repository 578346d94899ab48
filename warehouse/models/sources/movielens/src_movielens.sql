-- Grain: one rating of MovieLens-1M, as an impression that was liked (4 or 5 stars) or not.
{{ config(enabled=is_adapter('movielens')) }}
{%- set remedy = 'Fetch the log: warehouse fetch movielens' %}
{%- set plain = {
    'user_id:token': 'user_id', 'item_id:token': 'item_id', 'rating:float': 'rating', 'timestamp:float': 'rated_at',
    'movie_title:token': 'title', 'release_year:float': 'release_year', 'genre:token': 'genres',
    'age:float': 'age', 'gender:token': 'gender', 'occupation:float': 'occupation', 'zip_code:token': 'zip_code',
} %}

with

ratings as (
    select * from {{ raw_csv('*.inter', ['user_id', 'item_id', 'rating', 'rated_at'], remedy, '\t', '', plain) }} as raw
),

items as (
    select * from {{ raw_csv('*.item', ['item_id', 'title', 'release_year', 'genres'], remedy, '\t', '', plain) }} as raw
),

users as (
    select *
    from {{ raw_csv('*.user', ['user_id', 'age', 'gender', 'occupation', 'zip_code'], remedy, '\t', '', plain) }} as raw
),

-- Codes and their meaning are MovieLens-1M's own (its README).
ages (age, age_name, scene) as (
    values
    ('1', 'under 18', 'under_25'), ('18', '18-24', 'under_25'), ('25', '25-34', '25_34'), ('35', '35-44', '35_up'),
    ('45', '45-49', '35_up'), ('50', '50-55', '35_up'), ('56', '56 or older', '35_up')
),

occupations (occupation, occupation_name) as (
    values
    ('0', 'other'), ('1', 'academic or educator'), ('2', 'artist'), ('3', 'clerical or admin'),
    ('4', 'college or grad student'), ('5', 'customer service'), ('6', 'doctor or health care'),
    ('7', 'executive or managerial'), ('8', 'farmer'), ('9', 'homemaker'), ('10', 'K-12 student'), ('11', 'lawyer'),
    ('12', 'programmer'), ('13', 'retired'), ('14', 'sales or marketing'), ('15', 'scientist'),
    ('16', 'self-employed'), ('17', 'technician or engineer'), ('18', 'tradesman or craftsman'), ('19', 'unemployed'),
    ('20', 'writer')
),

profiled as (
    select
        users.*,
        ages.scene,
        concat_ws(
            '|', case users.gender when 'F' then 'woman' when 'M' then 'man' end, ages.age_name,
            occupations.occupation_name
        ) as profile
    from users
    left join ages on users.age = ages.age
    left join occupations on users.occupation = occupations.occupation
)

select
    ratings.source_file,
    ratings.source_row,
    cast(null as string) as event_id,
    ratings.user_id,
    ratings.item_id,
    profiled.scene,
    ratings.rated_at as event_at,
    cast(null as string) as known_at,
    case when ratings.rating in ('1', '2', '3') then '0' when ratings.rating in ('4', '5') then '1' else ratings.rating end
        as label,
    items.title as item_title,
    replace(items.genres, ' ', '|') as item_entities,
    {{ array_of(['profiled.profile']) }} as user_texts,
    {{ array_of(['items.release_year']) }} as ctx_dense,
    {{ array_of(['profiled.gender', 'profiled.age', 'profiled.occupation', 'substr(profiled.zip_code, 1, 1)']) }} as ctx_ids
from ratings
left join items on ratings.item_id = items.item_id
left join profiled on ratings.user_id = profiled.user_id
