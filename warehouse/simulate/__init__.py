"""An AntM2C-like log from a stated generative model, with the true click probability of every row.

The model, in the order in which the files tell it:

1. `parameters`: every number and its reason.
2. `vocabulary`, `texts`: 24 topics of real words; titles, entity lists and users' sequences are written from topics.
3. `world`: users have a taste for topics, a bias that drifts, moods, scenes they like; items have a topic, a merchant,
   a title style and a quality that drifts, appear on a day and fade.
4. `events`: who sees what when depends on activity, traffic and taste, never on labels. Then

       logit P(click) = intercept[scene, period] + taste_weight[scene] * match(user, item)
                      + user[day] + user_scene + mood[user, day]
                      + item[day] + novelty[scene] * exp(-age / 3 days)
                      + pair_sd[scene] * pair(user, item)
                      - slot - network - distance - price + hour

   P is rounded to 1e-6 and the label drawn from exactly that, alone: the label never enters anything else.
5. `columns`: the log's 37 columns and the truth's. 6. `output`: files; `parts`: one of them by itself.
7. `bayes`: what the truth itself scores.

docs/simulated-log.md has the meaning of every parameter and column. The package imports nothing else of the project.
"""
