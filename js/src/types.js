/**
 * The shapes that travel between kernel and browser (docs/protocol.md), and those that the front
 * end's own pieces hand to each other. Types only: nothing here exists at run time.
 */

/**
 * @typedef {"share" | "logit" | "norm" | "proximity" | "effect"} Measure
 * @typedef {"block" | "routes"} ViewName
 *
 * @typedef {"embed" | "residual" | "norm" | "query" | "key" | "value" | "head" | "row" |
 *   "attention" | "opaque" | "neuron_key" | "neuron" | "expert" | "mlp" | "bias" | "rounding" | "edit" |
 *   "rest" | "logits"} NodeKind
 *
 * @typedef {"residual" | "write" | "part" | "split" | "read" | "score" | "weight" |
 *   "activation" | "through"} EdgeKind
 */

/**
 * @typedef {object} Token A token as a person reads it, and its number in the vocabulary.
 * @property {number} id
 * @property {string} text
 *
 * @typedef {Token & {position: number}} PromptToken
 * @typedef {Token & {probability: number, logit?: number}} RankedToken
 * @typedef {Token & {probability: number | null, score?: number | null, logit?: number,
 *   word?: string}} ReadToken `score` in the unit of the node; a probability only where one was made;
 *   `word`: that it begins, where that is sure.
 * @typedef {"logit" | "sd" | "nats"} Unit
 * @typedef {"local" | "logit" | "calibrated" | "jacobian" | "tuned"} LensName
 *
 * @typedef {{id: number | string, text: string}} Named A token, or what a target is called.
 *
 * @typedef {object} Target What is followed: a token, several as one, or a direction. Of the latter
 *   two `id` is a text, and `text` says what they are; a direction has no probability and no rank.
 * @property {number | string} id
 * @property {string} text
 * @property {number} logit
 * @property {number | null} probability
 * @property {number | null} rank
 * @property {"mean" | "logsumexp" | "direction"} [combine]
 * @property {(Token & {weight: number})[]} [tokens]
 */

/**
 * @typedef {object} Node
 * @property {string} id
 * @property {NodeKind} kind
 * @property {number | null} layer
 * @property {number} position
 * @property {number | null} head
 * @property {number | null} source Position that a memory was left by.
 * @property {number | null} neuron
 * @property {number | null} [expert] Of a mixture, that a neuron belongs to.
 * @property {string | null} label
 * @property {ReadToken[]} top
 * @property {ReadToken[]} bottom
 * @property {Unit | null} [unit] Of its tokens' scores.
 * @property {number | null} target_probability
 * @property {number | null} target_rank
 * @property {number | null} norm
 * @property {number | null} logit
 * @property {number | null} [effect]
 * @property {number | null} activation
 * @property {number | null} weight
 * @property {number | null} score
 * @property {{of: string, count: number} | null} rest
 * @property {number | null} [influence] Of the routes graph: how much of the prediction runs through.
 * @property {"there"} [only] Of what the other prompt alone has: no number is of this side.
 */

/**
 * @typedef {object} Edge
 * @property {string} source
 * @property {string} target
 * @property {EdgeKind} kind
 * @property {number | null} share
 * @property {number | null} logit
 * @property {number | null} norm
 * @property {number | null} proximity
 * @property {number | null} [effect] Missing in what was saved before there were any.
 * @property {number | null} value
 * @property {number | null} [influence]
 */

/**
 * @typedef {number | [number, number]} Count How many, or how many of the most positive and of the
 *   most negative.
 * @typedef {{count?: Count | null, threshold?: number | null, mass?: number | null}} Limits
 * @typedef {Count | Limits} Limit A number alone is a count. All limits hold together.
 *
 * @typedef {object} Keep What pruning leaves in the picture. What is not said is the default.
 * @property {Limit} [heads]
 * @property {Limit} [memories] Of each head.
 * @property {Limit} [neurons]
 * @property {Limit} [rows]
 * @property {number | null} [threshold] For every kind that has none of its own.
 * @property {number | null} [mass] The same, a fraction.
 * @property {"measure" | "visit"} [by]
 * @property {Record<string, number>} [more] Opened rest nodes: how many more of them are drawn.
 * @property {Limit} [routes]
 * @property {"influence" | "edge"} [routes_by]
 */

/**
 * @typedef {object} ModelFacts
 * @property {string} name
 * @property {string} type
 * @property {number} n_layers
 * @property {number} n_heads
 * @property {number} d_model
 * @property {number} d_mlp
 * @property {number} n_vocab
 */

/**
 * @typedef {object} FlowGraph
 * @property {number} version
 * @property {number} revision Grows with every new graph of a widget.
 * @property {ModelFacts} model
 * @property {string} prompt
 * @property {PromptToken[]} tokens
 * @property {number} position The focus: whose computation this is.
 * @property {Target} target
 * @property {Target | null} foil
 * @property {Measure} measure
 * @property {Keep} keep
 * @property {number[]} layers Layers whose block graph is included.
 * @property {RankedToken[]} prediction
 * @property {Node[]} nodes
 * @property {Edge[]} edges
 * @property {LensName} [lens] That its labels were read with.
 * @property {Intervention[]} [interventions] What was done to the pass.
 * @property {Before | null} [before] Of a rerun: what the pass said as it is.
 * @property {Turn[]} [turns] Of a chat: whose words its tokens are.
 * @property {number | null} [step] Of a generation: which new token this pass said.
 * @property {number} [branch]
 * @property {Against | null} [against] The other prompt that it is compared with.
 */

/**
 * @typedef {object} Intervention What is done to a part of the pass.
 * @property {string} id
 * @property {"zero" | "mean" | "replace" | "patch" | number} action A number is a factor.
 * @property {"focus" | "all" | number[]} [positions] "focus" where none are said.
 * @property {string} [label] Of what only Python can say.
 * @property {string} [prompt] Whose pass a part is patched from.
 *
 * @typedef {{logit: number, probability: number | null, rank: number | null}} Standing
 *
 * @typedef {object} RunSaid
 * @property {Standing} target
 * @property {Standing | null} foil
 * @property {RankedToken | null} first The first choice.
 *
 * @typedef {object} Run Something that was done to the pass, kept to go back to.
 * @property {number} id
 * @property {Intervention[]} interventions
 * @property {string} prompt
 * @property {string | null} against
 * @property {number} focus
 * @property {number | null} step
 * @property {number | null} branch
 * @property {Named} target
 * @property {Named | null} foil
 * @property {RunSaid} before
 * @property {RunSaid} after
 *
 * @typedef {object} Before What the pass said as it is, in the graph of a rerun.
 * @property {Standing} target
 * @property {Standing | null} foil
 * @property {RankedToken[]} prediction
 * @property {Record<string, {label: string | null, target_rank: number | null,
 *   target_probability: number | null, logit?: number | null}>} streams By the ids of their nodes.
 */

/**
 * @typedef {Partial<Node> & Pick<Node, "id" | "kind">} OtherNode What it has none of is left out.
 *
 * @typedef {object} AgainstFacts The other side, in the graph of the one that is shown.
 * @property {number} position Its focus.
 * @property {string} prompt
 * @property {string} model
 * @property {PromptToken[]} tokens
 * @property {[number, number][]} pairs Partners: a position here, and one there, both in order.
 * @property {string | null} parting The stream from which on the two say different tokens.
 * @property {OtherNode[]} nodes By their ids here.
 * @property {(Partial<Edge> & Pick<Edge, "source" | "target" | "kind">)[]} edges
 *
 * @typedef {Before & AgainstFacts} Against
 */

/**
 * @typedef {object} Block The block graph of one layer: the reply to `expand`.
 * @property {number} layer
 * @property {number} revision
 * @property {Node[]} nodes
 * @property {Edge[]} edges
 * @property {Pick<AgainstFacts, "nodes" | "edges">} [against]
 */

/**
 * @typedef {object} DetailFacts What `project` adds to a node.
 * @property {number | null} share
 * @property {string | null} whole
 * @property {{probability: number, rank: number} | null} target
 * @property {{probability: number, rank: number} | null} foil
 * @property {number[] | null} attention
 * @property {{position: number, weight: number, logit: number | null}[] | null} sources
 * @property {{top: ReadToken[], bottom: ReadToken[]} | null} reads
 * @property {{lens: LensName, unit: Unit, top: ReadToken[], bottom: ReadToken[]}[]} [readings] What
 *   other lenses make of it.
 * @property {(Node & DetailFacts) | null} [other] The same node in the other prompt.
 *
 * @typedef {Node & DetailFacts} Detail
 */

/**
 * @typedef {object} Effects The reply to `effects`: what the prediction loses without each part of a
 *   layer, to first order and as it was measured.
 * @property {number} layer
 * @property {number} revision
 * @property {Record<string, {predicted: number | null, measured: number | null}>} nodes
 * @property {number | null} rho Their rank correlation.
 * @property {number} found How many of the `of` strongest were foretold.
 * @property {number} of
 *
 * @typedef {Partial<Effects> & Pick<Effects, "revision" | "nodes"> & {failed?: string}} LayerEffects
 *   As far as they are known: while they are asked for there is no `of`.
 *
 * @typedef {object} EffectsMap The reply to `effects_map`.
 * @property {"heads" | "sublayers" | "streams"} over
 * @property {number} [revision]
 * @property {number[]} layers
 * @property {string[]} columns
 * @property {(string | null)[][]} ids By layer, then by column.
 * @property {(number | null)[][]} predicted
 * @property {(number | null)[][]} measured
 *
 * @typedef {"streams" | "attention" | "mlps" | "heads" | "parts"} PatchedOver
 *
 * @typedef {object} Patching The reply to `patching`: how far each part of the other prompt brings
 *   this one; 0 is as it is, 1 the other.
 * @property {PatchedOver} over
 * @property {number[]} layers
 * @property {number[]} columns Positions, or heads.
 * @property {number[]} [sources] Of parts: the positions that heads read, the last axis of what follows.
 * @property {any[][]} ids By layer, then by column; null where there is nothing to take.
 * @property {any[][]} predicted
 * @property {any[][]} measured
 */

/**
 * @typedef {object} ScoreSide A part of what a query or a key read; of those not shown apart, null
 *   and how many.
 * @property {string | null} id
 * @property {number} sum What it adds to the score, whatever it meets.
 * @property {number} [count]
 *
 * @typedef {object} ScoreMatrix The reply to `score_parts`: why a head looks at a token.
 * @property {string} head
 * @property {number} position
 * @property {number} source
 * @property {number} score
 * @property {number} weight
 * @property {ScoreSide[]} query
 * @property {ScoreSide[]} key
 * @property {number[][]} matrix By part of the query's stream, then by part of the key's.
 */

/**
 * @typedef {object} Audit The reply to `audit`: how far off each identity is at the focus.
 * @property {{identity: string, error: number | null, tolerance?: number}[]} rows Relative
 *   errors, each of the layer where it is largest beside what rounding alone may cause there; null
 *   where the model could not be asked.
 * @property {number} tolerance The largest of the rows' tolerances.
 * @property {boolean} exact
 * @property {number | null} max_error
 * @property {number} position
 * @property {string} dtype
 */

/**
 * @typedef {object} AttributionFacts What each prompt token adds to the prediction, in logits. The
 *   tokens' values, `bias`, `opaque` and `rest` add up to `total`.
 * @property {{position: number, value: number, direct: number}[]} tokens `direct`: of the value,
 *   along paths through attention and the stream alone.
 * @property {number} bias What the model's constants add.
 * @property {number} opaque What comes out of layers that do not attend.
 * @property {number} rest What pruning left out.
 * @property {number} total
 *
 * @typedef {AttributionFacts & {revision: number}} Attribution The reply to `attribution`.
 *
 * @typedef {object} PositionPrediction
 * @property {number} position
 * @property {RankedToken[]} top
 * @property {(RankedToken & {rank: number}) | null} next The prompt's own next token.
 *
 * @typedef {object} Predictions The reply to `predictions`.
 * @property {number} revision
 * @property {PositionPrediction[]} positions
 *
 * @typedef {object} Routes The reply to `routes`: positions × layers.
 * @property {number} revision
 * @property {number} position
 * @property {Measure} measure
 * @property {number} total The influence of the logits node.
 * @property {Node[]} nodes
 * @property {Edge[]} edges
 * @property {AttributionFacts} attribution
 * @property {{position: number, attribution: AttributionFacts,
 *   nodes: {id: string, kind: NodeKind, influence: number | null, label: string | null}[]}} [against]
 *   The other prompt's, its nodes by their places here.
 *
 * @typedef {"routes" | "attribution" | "predictions"} LateName Replies about the whole graph.
 */

/**
 * @typedef {object} Status
 * @property {"ready" | "busy" | "error"} state
 * @property {string | null} message
 * @property {number | null} max_error Largest relative error that the audit found.
 * @property {boolean | null} exact
 */

/**
 * @typedef {object} Filters What is drawn plainly; nothing leaves a sum.
 * @property {[number, number] | null} layers From the first to the last; others are dimmed.
 * @property {Record<string, number[]>} heads By layer, open, whose other heads are drawn as one.
 *
 * @typedef {object} Display How the shell is set up.
 * @property {("attribution" | "predictions")[]} under What stands under the prompt's tokens.
 * @property {boolean} least Whether the panel's least tokens are open.
 * @property {boolean} unfolded Whether a long prompt is.
 * @property {{query: string, hit: string | null} | null} search What is looked for, and the key of
 *   what was gone to; null while nothing is.
 */

/**
 * @typedef {object} SaidToken A token that the model said.
 * @property {number} id
 * @property {string} text
 * @property {number} probability
 * @property {number} rank
 * @property {RankedToken | null} first The model's first choice, where that was another.
 * @property {boolean} put Whether a reader put it there.
 *
 * @typedef {object} Generation What the model went on with.
 * @property {number} begun How many tokens the prompt has.
 * @property {SaidToken[]} tokens
 * @property {boolean} interrupted
 * @property {{of: number | null, at: number | null, token: Token | null}[]} branches All that were
 *   made: of which one, at which token, and what stands there instead.
 *
 * @typedef {object} Turn Of a chat.
 * @property {string | null} role Null for what the template puts before the first.
 * @property {number} start
 * @property {number} end
 * @property {[number, number] | null} said All other tokens are the template's.
 */

/**
 * @typedef {object} Traits
 * @property {string} prompt
 * @property {Generation | null} generation
 * @property {number | null} branch
 * @property {number | null} step
 * @property {string | null} against The other prompt.
 * @property {number} focus
 * @property {{id: number | string, text?: string} | null} target
 * @property {{id: number | string, text?: string} | null} foil
 * @property {FlowGraph | Record<string, never>} graph
 * @property {number[]} expanded
 * @property {string[]} selection
 * @property {Measure} measure
 * @property {LensName} lens
 * @property {LensName[]} lenses Those that can be chosen at once.
 * @property {Keep} keep
 * @property {Intervention[]} interventions
 * @property {Run[]} runs
 * @property {boolean} playing Whether the kernel shows one step after the other.
 * @property {ViewName} view
 * @property {string[]} pins Up to four nodes that are compared.
 * @property {Filters} filters
 * @property {Display} display
 * @property {Status} status
 *
 * @typedef {keyof Traits} TraitName
 */

/**
 * @typedef {object} RequestEnvelope
 * @property {"visit-request"} kind
 * @property {string} id
 * @property {string} method
 * @property {Record<string, unknown>} params
 *
 * @typedef {{kind: "visit-cancel", id: string}} CancelEnvelope
 * @typedef {{kind: "visit-response", id: string, ok: true, result: any}} SuccessEnvelope
 * @typedef {{kind: "visit-response", id: string, ok: false,
 *   error: {type: string, message: string}}} FailureEnvelope
 * @typedef {{kind: "visit-progress", id: string, done: number, total: number}} ProgressEnvelope
 *
 * @typedef {SuccessEnvelope | FailureEnvelope | ProgressEnvelope} IncomingEnvelope
 * @typedef {RequestEnvelope | CancelEnvelope} OutgoingEnvelope
 */

/**
 * @typedef {object} RequestOptions
 * @property {(done: number, total: number) => void} [onProgress]
 * @property {(silent: boolean) => void} [onSilence] Told when the kernel has not answered for long,
 *   and again when it does.
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} Host Where traits live and requests go: a kernel, a page's data, or a test.
 * @property {<K extends TraitName>(name: K) => Traits[K]} get
 * @property {<K extends TraitName>(name: K, value: Traits[K]) => boolean} set False where it could
 *   not be handed on: nobody is there to act on it.
 * @property {(names: TraitName[], listener: (name: TraitName) => void) => () => void} onChange
 * @property {(method: string, params: Record<string, unknown>, options?: RequestOptions) =>
 *   Promise<any>} request
 * @property {boolean} live Whether a kernel stands behind it that can compute what is missing.
 */

/**
 * @typedef {object} StageView What the shell hands to the stage on every update.
 * @property {FlowGraph} graph The overview and the blocks of the expanded layers, merged.
 * @property {number[]} expanded
 * @property {number[]} pending Expanded layers whose block has not arrived yet.
 * @property {string[]} selection
 * @property {string | null} hovered
 * @property {Set<string> | null} [found] What a search lights; null while there is none.
 * @property {[number, number] | null} [layers] Those that are not dimmed; null for all.
 * @property {Measure} measure
 * @property {Record<number, LayerEffects>} [effects] Measured, by layer.
 * @property {number} width
 * @property {number} height That the picture should keep to, if it can.
 * @property {boolean} dark
 * @property {boolean} reducedMotion
 * @property {boolean} [whole] Whether all of the picture is needed at once, in sight or not.
 *
 * @typedef {{type: "select", nodes: string[], additive?: boolean} |
 *   {type: "toggle-layer", layer: number} |
 *   {type: "close-layer", layer: number} |
 *   {type: "hover", node: string | null, x: number, y: number} |
 *   {type: "set-target", id: number | string} |
 *   {type: "open-rest", node: string} |
 *   {type: "bring", node: string} |
 *   {type: "look-at", position: number, layer?: number | null, nodes?: string[]}} StageAction
 *
 * @typedef {object} Stage
 * @property {(view: StageView) => void} update
 * @property {(id: string) => import("./views/index.js").Spot | null} spot
 * @property {() => void} destroy
 */

/**
 * @typedef {object} StandaloneData
 * @property {Partial<Traits>} traits
 * @property {Record<string, Block>} [expand]
 * @property {Record<string, Detail>} [project]
 * @property {Record<string, Detail> | null} [against] Of the other prompt, by id here.
 * @property {Audit | null} [audit]
 * @property {Routes | null} [routes]
 * @property {Attribution | null} [attribution]
 * @property {Predictions | null} [predictions]
 */

export {};
