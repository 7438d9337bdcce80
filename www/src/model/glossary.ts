/** What the page's words mean, in a sentence or two. */
export const glossary = {
  "outer loss": "The error on the validation people after training: what the hyperparameters are judged by. Cross-entropy, in nats; lower is better.",
  hypergradient: "The derivative of the outer loss by every hyperparameter at once, taken through all steps of the training. It says which way to move each of them.",
  training: "The unit of cost here: training the network once through all of its steps. A hypergradient costs about as much as three or four.",
  "edge of stability": "Beyond it, the smallest change of a learning rate ends in another network: the loss is a rough landscape, and its derivative is exact but no direction.",
  roughness: "How near a training is to the edge of stability, by its derivatives by learning rate and momentum: at 1 it is there.",
  "macro F1": "The mean over the activities of F1, which is high only where most windows of an activity are named so (recall) and most windows named so are of it (precision).",
  "example weight": "How much a training window counts, from 0 to 2. Learned like any other hyperparameter, from the error on other people.",
  AUC: "The probability that a window with a right label has a larger weight than one with a wrong label: 0.5 is chance, 1 is perfect.",
  "random search": "Trainings at settings drawn by chance, as many as the tuned run has cost, of which the best on the validation people is kept.",
  foretold: "The outer loss that the last hypergradient promises at a point, if the loss were a straight line.",
} as const;

export type Word = keyof typeof glossary;
